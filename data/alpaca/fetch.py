"""Fetches the alpacas from Open Images, if data.images asks for them; otherwise leaves a note in their place.

    python -m data.alpaca.fetch

Reads data/alpaca/images.csv and data/alpaca/params.yaml; writes data/alpaca/images/CLASS/ID.jpg, and to
data/sources/alpaca_missing.csv the images that the bucket lacks. DVC runs this before `split`, which depends on
data/sources.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import hashlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import requests
from pydantic import Field
from tqdm import tqdm

from stages.common import cli, fetched, files, params, tracked
from stages.common.cli import UserError

LIST = "data/alpaca/images.csv"
PARAMETERS = "data/alpaca/params.yaml"
IMAGES = "data/alpaca/images"
MISSING = "data/sources/alpaca_missing.csv"
LISTED = ["id", "class"]  # columns of it
DOWNLOADS = Path(
    "data/alpaca/.download"
)  # folder to resume from, no output of the stage: DVC deletes those before a run
SUBSETS = ("train", "validation", "test")  # subsets of Open Images; most images are in the first
AT_ONCE = 8  # number of simultaneous requests, below the 10 connections that requests keeps open
TIMEOUT = (10, 30)  # seconds to connect, and seconds without any byte of the answer
PAUSES = (1, 2, 4, 8, 16)  # seconds before each retry


class Download(params.Group):
    base_url: Annotated[str, Field(pattern="^https?://", description="an address that starts with http:// or https://")]
    max_missing: Annotated[int, Field(ge=0, le=327)]


def main() -> None:
    p, source = params.read("data"), params.read_file(PARAMETERS, Download)
    for path in (p.data.labels, p.data.corrections):  # here, because DVC runs this before it looks for the tables
        tracked.check(path)
    images = pd.read_csv(LIST, dtype=str)
    with files.replacing(images=IMAGES, missing=MISSING) as out:
        if not fetched.is_asked_for(IMAGES, "data.images", p.data.images, note=out.images / "NOT_FETCHED.txt"):
            images.loc[[], LISTED].to_csv(out.missing, index=False)
            return
        print(f"downloading {len(images)} images, 122 MB in all, from {source.base_url}", flush=True)
        found = download(images, source.base_url.rstrip("/"))
        missing = images[~found]
        if len(missing):
            print(f"{len(missing)} of {len(images)} images are missing: {', '.join(missing['id'])}")
        if len(missing) > source.max_missing:
            raise UserError(
                f"{len(missing)} of {len(images)} images are not at {source.base_url}, more than the "
                f"{source.max_missing} of max_missing. Check base_url or raise max_missing in {PARAMETERS} and run "
                "again: the download resumes where it stopped."
            )
        for name, class_name in zip(images["id"][found], images["class"][found], strict=True):
            target = out.images / class_name / f"{name}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(DOWNLOADS / target.name, target)
        missing[LISTED].to_csv(out.missing, index=False)
    print(f"{found.sum()} images in {IMAGES}")


def download(images: pd.DataFrame, base_url: str) -> np.ndarray:
    """Downloads images into DOWNLOADS, several at a time, unless they are there already.

    Args:
        images: N images, with their id and sha256, str.
        base_url: address of the bucket, without a slash at its end.

    Returns:
        bool [N]: False where the bucket has the image in none of its subsets.

    Raises:
        UserError: the bucket does not answer, or has other bytes. Finished downloads stay.
    """

    def work(name: str, sha256: str) -> bool:
        path = DOWNLOADS / f"{name}.jpg"
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return True
        for subset in SUBSETS:
            data = get(session, f"{base_url}/{subset}/{path.name}", sha256)
            if data is not None:
                with files.replacing(image=path) as out:
                    out.image.write_bytes(data)
                return True
        return False

    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as pool:
        # After an error, map() cancels the downloads that have not begun.
        found = pool.map(work, images["id"], images["sha256"])
        return np.fromiter(tqdm(found, "fetching", len(images), unit="image", disable=None), bool)


def get(session: requests.Session, url: str, sha256: str) -> bytes | None:
    """Returns the bytes of an image, or None if there is no such image. Retries at growing intervals.

    Raises:
        UserError: the server does not answer, fails or sends bytes of another SHA-256, at the last retry, too.
    """
    for pause in (0, *PAUSES):
        time.sleep(pause)
        try:
            with session.get(url, timeout=TIMEOUT, stream=True) as response:
                if response.status_code in (403, 404):  # S3 answers 403 where it does not tell which keys exist
                    return None
                data = fetched.read_body(response)
            found = hashlib.sha256(data).hexdigest()
            if found == sha256:
                return data
            reason = f"the image is incomplete or another one, with SHA-256 {found} instead of {sha256} in {LIST}"
        except requests.RequestException as error:  # also for a body that ends too early
            reason = str(error)
    raise UserError(
        f"{url} could not be fetched: {reason}. Check the network, and base_url in {PARAMETERS}, and run again: the "
        "download resumes where it stopped."
    )


if __name__ == "__main__":
    cli.run(main)
