"""The alpacas: what is fetched from a bucket on this machine, and what happens when the bucket does not do its part."""

import contextlib
import hashlib
import http.server
import io
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import requests
import yaml
from PIL import Image

from data.alpaca import fetch
from stages.common import fetched
from stages.common.cli import UserError
from tests.support import ROOT, clone_project, make_images

SUBSETS = ("train", "validation", "test")
NAMES = [f"{number:016x}" for number in range(9)]
CLASSES = {name: ("alpaca", "not alpaca")[number % 2] for number, name in enumerate(NAMES)}
KEYS = {name: f"/{SUBSETS[number % 3]}/{name}.jpg" for number, name in enumerate(NAMES)}


class Bucket(http.server.ThreadingHTTPServer):
    """Serves made-up images at KEYS.

    Attributes:
        absent: the status for every other key.
        faults: {key: list of what its next answers suffer from}.
        asked: the keys that were asked for, in order.
        two_at_once: set once two requests are being answered at the same time.
        closing: set when the server is about to close.
    """

    request_queue_size = 64  # at socketserver's 5, a burst of requests waits a second

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.absent, self.faults, self.asked = 404, {}, []
        self.lock, self.busy = threading.Lock(), 0
        self.two_at_once, self.closing = threading.Event(), threading.Event()
        self.images = {}
        for number, key in enumerate(KEYS.values()):
            file = io.BytesIO()
            Image.effect_noise((90, 60), 20 + number).save(file, "JPEG")
            self.images[key] = file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, key = self.server, self.requestline.split()[1]  # self.path is cleared of double slashes, unlike S3's
        with server.lock:
            server.asked.append(key)
            fault = server.faults[key].pop(0) if server.faults.get(key) else None
            server.busy += 1
            if server.busy == 2:
                server.two_at_once.set()
        if fault == "no answer":
            server.closing.wait()
        elif fault == "wait for another":
            server.two_at_once.wait(60)
        with server.lock:
            server.busy -= 1
        data = self.server.images.get(key)
        if fault == "500" or data is None:
            return self.send_error(500 if fault else self.server.absent)
        half = data[: len(data) // 2]
        body = {"half an image": half, "another image": data[::-1], "no end": bytes(len(data) * 50)}.get(fault, data)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # of a client that was stopped
            self.wfile.write(half if fault == "half a body" else body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def bucket():
    with Bucket() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()


def write_list(folder, bucket):
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {name: hashlib.sha256(bucket.images[key]).hexdigest() for name, key in KEYS.items()}
    lines = [f"{name},{CLASSES[name]},{hashes[name]}\n" for name in NAMES]
    (folder / "images.csv").write_text("id,class,sha256\n" + "".join(lines))


def set_download(project, **changes):
    """Changes parameters of data/alpaca/params.yaml."""
    path = project.folder / fetch.PARAMETERS
    path.write_text(yaml.safe_dump(yaml.safe_load((ROOT / fetch.PARAMETERS).read_text()) | changes))


@pytest.fixture
def alpaca(workplace, bucket, monkeypatch):
    """data/alpaca in an empty working folder, with a list of nine images, all of which the bucket has."""
    write_list(workplace.folder / "data/alpaca", bucket)
    workplace.set({"data.images": "data/alpaca/images"})
    set_download(workplace, base_url=bucket.url, max_missing=2)
    monkeypatch.setattr(fetch, "PAUSES", (0.01, 0.02))
    get = requests.Session.get

    def get_soon(session, url, timeout, stream):
        """Waits for an answer as long as `fetch` says, but for one that does not come."""
        assert timeout == fetch.TIMEOUT
        faults = bucket.faults.get(url.removeprefix(bucket.url))
        return get(session, url, timeout=0.1 if faults and faults[0] == "no answer" else timeout, stream=stream)

    monkeypatch.setattr(requests.Session, "get", get_soon)
    return workplace.folder / "data/alpaca"


def bytes_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(bucket, names=NAMES):
    return {f"{CLASSES[name]}/{name}.jpg": bucket.images[KEYS[name]] for name in names}


def test_the_list_has_the_notebooks_images():
    images = pd.read_csv(ROOT / fetch.LIST, dtype=str)
    assert images["class"].value_counts().to_dict() == {"alpaca": 142, "not alpaca": 185}
    assert images["id"].str.fullmatch("[0-9a-f]{16}").all()
    assert images["id"].is_unique and images["id"].is_monotonic_increasing
    assert images["sha256"].str.fullmatch("[0-9a-f]{64}").all() and images["sha256"].is_unique


@pytest.mark.parametrize("absent", [404, 403])
def test_every_image_is_found_in_its_subset(alpaca, bucket, absent):
    bucket.absent = absent
    fetch.main()
    assert bytes_of(alpaca / "images") == expected(bucket)
    assert Path(fetch.MISSING).read_text() == "id,class\n"
    assert {path.name for path in alpaca.iterdir()} == {"images.csv", "params.yaml", "images", ".download"}
    assert (
        sorted(bucket.asked)
        == sorted(  # each subset up to the right one, each once
            f"/{subset}/{name}.jpg" for number, name in enumerate(NAMES) for subset in SUBSETS[: number % 3 + 1]
        )
    )


def test_a_slash_at_the_end_of_the_addresses_does_no_harm(alpaca, bucket, workplace):
    set_download(workplace, base_url=f"{bucket.url}/")
    workplace.set({"data.images": "./data/alpaca/images/"})
    fetch.main()
    assert bytes_of(alpaca / "images") == expected(bucket)


def test_several_are_fetched_at_a_time(alpaca, bucket):
    bucket.faults = {key: ["wait for another"] for key in KEYS.values()}
    fetch.main()
    assert bucket.two_at_once.is_set()


@pytest.mark.parametrize("fault", ["500", "no answer", "half a body", "half an image", "another image"])
def test_what_fails_twice_is_tried_a_third_time(alpaca, bucket, monkeypatch, fault):
    pauses = []
    monkeypatch.setattr(fetch, "time", SimpleNamespace(sleep=pauses.append))
    key = KEYS[NAMES[4]]
    bucket.faults = {key: [fault] * 2}
    fetch.main()
    assert bytes_of(alpaca / "images") == expected(bucket)
    assert bucket.asked.count(key) == 3
    assert [pause for pause in pauses if pause] == [0.01, 0.02]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("500", "500 Server Error"),
        ("no answer", "timed out"),
        ("half a body", "IncompleteRead"),
        ("half an image", "incomplete or another one, with SHA-256 [0-9a-f]{64} instead of [0-9a-f]{64} in"),
        ("another image", "incomplete or another one, with SHA-256 [0-9a-f]{64} instead of [0-9a-f]{64} in"),
        ("no end", "the answer is longer than 20,000 bytes"),
    ],
)
def test_the_next_run_goes_on_where_one_stopped(alpaca, bucket, monkeypatch, fault, words):
    monkeypatch.setattr(fetched, "LONGEST_BODY", 20_000)
    assert max(map(len, bucket.images.values())) < 20_000
    key = KEYS[NAMES[8]]
    bucket.faults = {key: [fault] * 99}
    with pytest.raises(
        UserError, match=rf"{key} could not be fetched: .*{words}.*base_url in {fetch.PARAMETERS}.*resumes"
    ):
        fetch.main()
    assert bucket.asked.count(key) == 3
    assert {path.name for path in alpaca.iterdir()} == {"images.csv", "params.yaml", ".download"}
    there = {f"{CLASSES[path[:16]]}/{path}": data for path, data in bytes_of(alpaca / ".download").items()}
    assert there == expected(bucket, NAMES[:8])  # whole, and nothing half-written
    bucket.faults, bucket.asked = {}, []
    fetch.main()
    assert set(bucket.asked) == {f"/{subset}/{NAMES[8]}.jpg" for subset in SUBSETS}
    assert bytes_of(alpaca / "images") == expected(bucket)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: data[:-9] + bytes(9)])
def test_a_download_that_was_damaged_since_is_fetched_again(alpaca, bucket, damage):
    fetch.main()
    file = alpaca / f".download/{NAMES[3]}.jpg"
    file.write_bytes(damage(file.read_bytes()))
    bucket.asked = []
    fetch.main()
    assert bucket.asked == [KEYS[NAMES[3]]]
    assert bytes_of(alpaca / "images") == expected(bucket)


def test_a_full_disk_leaves_nothing_half_written(alpaca, monkeypatch):
    def write_half(path, data):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        fetch.main()
    assert bytes_of(alpaca / ".download") == {}


def test_images_that_are_gone_are_listed_up_to_a_limit(alpaca, bucket, workplace, capsys):
    for name in NAMES[2:4]:
        del bucket.images[KEYS[name]]
    fetch.main()
    assert bytes_of(alpaca / "images") == expected(bucket, NAMES[:2] + NAMES[4:])
    assert Path(fetch.MISSING).read_text() == f"id,class\n{NAMES[2]},alpaca\n{NAMES[3]},not alpaca\n"
    assert f"2 of 9 images are missing: {NAMES[2]}, {NAMES[3]}\n" in capsys.readouterr().out

    set_download(workplace, base_url=bucket.url, max_missing=1)
    before = bytes_of(workplace.folder)
    with pytest.raises(UserError, match=rf"2 of 9 .* not at {bucket.url}, more than the 1 of max_missing"):
        fetch.main()
    assert bytes_of(workplace.folder) == before
    assert f"{NAMES[2]}, {NAMES[3]}\n" in capsys.readouterr().out


def test_a_bucket_that_does_not_answer_is_one_error(alpaca, workplace):
    set_download(workplace, base_url="http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/train/\w+.jpg could not be fetched: .*base_url"):
        fetch.main()
    assert {path.name for path in alpaca.iterdir()} == {"images.csv", "params.yaml"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_url": "ftp://a"}, "base_url is 'ftp://a', but must be an address that starts with http:// or https://"),
        ({"max_missing": 328}, "max_missing is 328, but must be a whole number from 0 to 327"),
        ({"max_mising": 3}, "max_mising is not a parameter; did you mean max_missing?"),
    ],
)
def test_parameters_of_the_download_are_checked_as_those_of_the_pipeline(alpaca, workplace, changes, words):
    set_download(workplace, **changes)
    with pytest.raises(UserError, match=re.escape(f"data/alpaca/params.yaml: {words}")):
        fetch.main()


def test_a_parameter_of_the_download_that_is_missing_is_named(alpaca):
    (alpaca / "params.yaml").write_text("base_url: http://a\n")
    with pytest.raises(UserError, match="max_missing is missing; it must be a whole number from 0 to 327"):
        fetch.main()


def test_nothing_is_fetched_unless_asked_for(alpaca, bucket, workplace):
    fetch.main()
    bucket.asked = []
    workplace.set({"data.images": "data/digits/images"})
    fetch.main()
    assert bucket.asked == []
    assert [path.name for path in (alpaca / "images").iterdir()] == ["NOT_FETCHED.txt"]
    assert Path(fetch.MISSING).read_text() == "id,class\n"


@pytest.mark.slow
def test_one_parameter_leads_to_the_alpacas_and_back(tmp_path, bucket):
    project = clone_project(tmp_path)
    write_list(tmp_path / "data/alpaca", bucket)
    project.set({"image_size": 32})
    set_download(project, base_url="http://127.0.0.1:9")
    project.run("dvc", "repro", "split")
    project.commit()
    assert bucket.asked == []
    assert "up to date" in project.run("dvc", "status", "split", "data/alpaca/dvc.yaml")

    experiment = ["dvc", "exp", "run", "-S", "data.images=data/alpaca/images"]
    experiment += ["-S", f"{fetch.PARAMETERS}:base_url={bucket.url}", "split"]
    project.run(*experiment)
    manifests = pd.concat(pd.read_csv(path) for path in tmp_path.glob("data/splits/*/manifest.csv"))
    assert sorted(manifests["path"]) == sorted(expected(bucket))
    assert "up to date" in project.run("dvc", "status", "split", "data/alpaca/dvc.yaml")
    assert not re.search(r"\.download|\.jpg", project.run("git", "status", "--porcelain", "--untracked-files=all"))

    project.run("git", "checkout", ".")
    project.run("dvc", "repro", "split")
    assert project.run("git", "status", "--porcelain") == ""
    asked = list(bucket.asked)
    project.run(*experiment)  # from DVC's cache
    assert bytes_of(tmp_path / "data/alpaca/images") == expected(bucket) and bucket.asked == asked


@pytest.mark.slow
def test_images_that_are_not_committed_are_named_wherever_an_experiment_runs(project):
    make_images(project.folder / "data/mine", {"ant": 9, "bee": 9})
    project.run("dvc", "add", "data/mine")
    experiment = ["dvc", "exp", "run", "-S", "data.images=data/mine", "-S", "image_size=32"]
    project.run(*experiment, "--queue", "--name", "queued", "split")
    project.run("dvc", "exp", "run", "--run-all")
    says = "ERROR: git does not have data/mine.dvc"
    assert says in project.run("dvc", "queue", "logs", "queued")
    assert says in project.run(*experiment, "--temp", "split", status=255)
    assert says in project.run(*experiment, "split", status=255)
