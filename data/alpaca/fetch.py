"""Fetches the alpacas from Open Images, if data.images asks for them; otherwise leaves a note in their place.

    python -m data.alpaca.fetch

Reads data/alpaca/images.csv; writes data/alpaca/images/CLASS/ID.jpg, and to data/alpaca/missing.csv the images that
are gone. The note lets the pipeline always depend on this stage, so that `dvc status` has no missing output to report.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import io
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import requests
from PIL import Image
from tqdm import tqdm

from stages.common import cli, files, params, tracked
from stages.common.cli import UserError

LIST = "data/alpaca/images.csv"
IMAGES = "data/alpaca/images"
MISSING = "data/alpaca/missing.csv"
DOWNLOADS = Path("data/alpaca/.download")  # to resume from: no output of the stage, as DVC deletes those before a run
SUBSETS = ("train", "validation", "test")  # most of Open Images is in the first
AT_ONCE = 8  # requests; below the 10 connections that requests keeps open
TIMEOUT = (10, 30)  # seconds to connect, and without any byte of the answer
PAUSES = (1, 2, 4, 8, 16)  # seconds before each retry


def main() -> None:
    p = params.read("data", "alpaca")
    images = pd.read_csv(LIST, dtype=str)
    if Path(p.data.images) != Path(IMAGES):
        for path in (p.data.images, p.data.labels):
            tracked.check(path)  # here, because DVC runs this before it looks for the images
        with files.replacing(images=IMAGES, missing=MISSING) as out:
            out.images.mkdir()
            (out.images / "NOT_FETCHED.txt").write_text(f"These images are fetched when data.images is {IMAGES}.\n")
            images[:0].to_csv(out.missing, index=False)
        print(f"not fetched: data.images is {p.data.images}")
        return
    print(f"downloading {len(images)} images, 122 MB in all, from {p.alpaca.base_url}", flush=True)
    found = download(images["id"], p.alpaca.base_url.rstrip("/"))
    missing = images[~found]
    if len(missing):
        print(f"{len(missing)} of {len(images)} images are gone: {', '.join(missing['id'])}")
    if len(missing) > p.alpaca.max_missing:
        raise UserError(
            f"{len(missing)} of {len(images)} images are not at {p.alpaca.base_url}, more than the "
            f"{p.alpaca.max_missing} of alpaca.max_missing. Check alpaca.base_url, or raise alpaca.max_missing, and "
            "run again: it resumes where this run stopped."
        )
    with files.replacing(images=IMAGES, missing=MISSING) as out:
        for name, class_name in zip(images["id"][found], images["class"][found], strict=True):
            target = out.images / class_name / f"{name}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(DOWNLOADS / target.name, target)
        missing.to_csv(out.missing, index=False)
    print(f"{found.sum()} images in {IMAGES}")


def download(ids: pd.Series, base_url: str) -> np.ndarray:
    """Fetches images into DOWNLOADS, several at a time. Those that are there already are not fetched again.

    Args:
        ids: Series of N str.
        base_url: address of the bucket, without a slash at its end.

    Returns:
        bool array [N]: False where the bucket has the image in none of its subsets.

    Raises:
        UserError: the bucket does not answer. What has been fetched until then stays.
    """

    def work(name: str) -> bool:
        path = DOWNLOADS / f"{name}.jpg"
        if path.exists() and is_image(path.read_bytes()):
            return True
        for subset in SUBSETS:
            data = get(session, f"{base_url}/{subset}/{path.name}")
            if data is not None:
                with files.replacing(image=path) as out:
                    out.image.write_bytes(data)
                return True
        return False

    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as pool:
        # After an error, map() gives up what has not begun.
        return np.fromiter(tqdm(pool.map(work, ids), "fetching", len(ids), unit="image", disable=None), bool)


def get(session: requests.Session, url: str) -> bytes | None:
    """Downloads one image; tries again, at growing intervals, while the server fails or the image is incomplete.

    Returns:
        bytes, or None where there is no such image.

    Raises:
        UserError: the last try failed too.
    """
    for pause in (0, *PAUSES):
        time.sleep(pause)
        try:
            response = session.get(url, timeout=TIMEOUT)
            if response.status_code in (403, 404):  # S3 answers 403 where it does not tell which keys exist
                return None
            response.raise_for_status()
            if is_image(response.content):
                return response.content
            reason = "the image is incomplete"
        except requests.RequestException as error:  # also for a body that ends too early
            reason = str(error)
    raise UserError(
        f"{url} could not be fetched: {reason}. Check the network and alpaca.base_url and run again: it resumes where "
        "this run stopped."
    )


def is_image(data: bytes) -> bool:
    """Whether `data` decodes to the end."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        return True
    except Exception:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        return False


if __name__ == "__main__":
    cli.run(main)
