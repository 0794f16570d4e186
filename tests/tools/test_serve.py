"""The server, by requests to a process of its own, whose limits are low; the last test ends it."""

import http.client
import io
import itertools
import json
import os
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from PIL import Image

from stages.model import network, saved_model
from stages.tools import predict, serve
from tests.support import ROOT, run_command

CLASSES = ["cat", "<i>nöt cat", "dog"]
MAX_FILE, MAX_REQUEST, MAX_FILES, MAX_REQUESTS, MAX_SECONDS, MAX_IDLE = 100_000, 200_000, 5, 8, 2, 1
CHUNKS = itertools.chain(
    [b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'], itertools.repeat(bytes(10_000), 99)
)
START = f"""
from stages.model import backend
backend.start()
backend.use_one_thread_per_call()
import sys
from stages.common import cli
from stages.tools import http_limits, serve
serve.MAX_FILE, serve.MAX_REQUEST, serve.MAX_FILES = {MAX_FILE}, {MAX_REQUEST}, {MAX_FILES}
http_limits.MAX_REQUESTS, http_limits.MAX_SECONDS, http_limits.MAX_IDLE = {MAX_REQUESTS}, {MAX_SECONDS}, {MAX_IDLE}
cli.run(serve.main)
"""


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    """The folder of a model of 32 pixels and three classes."""
    made = network.build(32, 3)
    network.load_base(made, weights)
    folder = tmp_path_factory.mktemp("models") / "model"
    saved_model.save(made, CLASSES, 2, folder)
    return folder


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    """A running server: process, port, url, log (its standard error)."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-c", START, "--model", str(model), "--port", "0"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=log.parent, stdout=output, stderr=output, env=environment())
    try:
        port = find_port(process, log)
        yield SimpleNamespace(process=process, port=port, url=f"http://127.0.0.1:{port}", log=log)
    finally:
        process.kill()
        process.wait()


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def find_port(process, log):
    for _ in range(600):
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def png(seed=0, size=40):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def bomb(width, height):
    """A PNG file of some bytes that claims a size."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0"),
        b"IEND": b"",
    }
    parts = [
        struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def post(server, *files):
    """Posts files, bytes or (name, bytes)."""
    parts = [("files", x if isinstance(x, tuple) else (f"{n}.png", x)) for n, x in enumerate(files)]
    return requests.post(f"{server.url}/predict", files=parts, timeout=20)


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def start_of_request(body=b"", length=1000, kind="multipart/form-data; boundary=b"):
    lines = ["POST /predict HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode() + body


def multipart(*files):
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n' + data + b"\r\n"
        for data in files
    ]
    return b"".join(parts) + b"--b--\r\n"


def response_of(sock):
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response


def metrics(server):
    """{name with labels: value} of /metrics."""
    lines = requests.get(f"{server.url}/metrics", timeout=20).text.splitlines()
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}


def assert_answers(server):
    assert post(server, png()).status_code == 200


@pytest.mark.parametrize("count", [1, 2, MAX_FILES])
def test_answers_as_predict_does(server, model, count):
    files = [png(seed) for seed in range(count)]
    answer = post(server, *files)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    expected = list(predict.predict(files, str(model)))
    for number, (found, right) in enumerate(zip(answer.json(), expected, strict=True)):
        assert list(found) == [
            "path",
            "predicted",
            "probability",
            "novelty",
            "unlike",
            "prediction_set",
            "probabilities",
        ]
        assert found["path"] == f"{number}.png" and found["predicted"] == right.predicted
        assert found["probabilities"] == pytest.approx(right.probabilities, abs=1e-5)
        assert found["prediction_set"] == right.prediction_set and found["unlike"] == right.unlike


def test_concurrent_requests_get_their_own_answers(server, model):
    files = [png(seed) for seed in range(24)]
    before = metrics(server)
    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        answers = list(pool.map(lambda file: post(server, file), files))
    for answer, right in zip(answers, predict.predict(files, str(model)), strict=True):
        [found] = answer.json()
        assert found["probabilities"] == pytest.approx(right.probabilities, abs=1e-5)
    after = metrics(server)
    assert after["predict_batch_images_sum"] - before["predict_batch_images_sum"] == 24
    assert after["predict_batch_images_count"] - before["predict_batch_images_count"] <= 24


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "ünï 犬.png", "a;b=c, d.png", "%2e%2e%2fx", "x" * 3000]
)
def test_a_file_s_name_is_a_label(server, name):
    [found] = post(server, (name, png())).json()
    assert found["path"] == name and found["predicted"] in CLASSES
    [found] = post(server, (name, b"no image")).json()
    assert found["path"] == name and "root:" not in json.dumps(found)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (png()[:60], "truncated|broken"),
        (png()[:-30], "truncated|broken"),
        (b"", "empty|0 bytes|no image"),
        (b"%PDF-1.4 text", "PDF|no image|not"),
        (b"\xff\xd8\xff\xe0" + bytes(1000), "broken|truncated"),
        (bomb(100_000, 100_000), "more than data.max_pixels"),
        (bomb(2**31 - 1, 2**31 - 1), "more than|broken"),
        (png(1, 250), "bytes, but the server takes 100,000 at most"),
        (b"GIF89a", "broken|truncated|not"),
    ],
    ids=range(9),
)
def test_a_file_that_cannot_be_read_has_a_problem_and_its_neighbours_are_predicted(server, data, problem):
    alone = post(server, ("x.png", data))
    assert alone.status_code == 422 and list(alone.json()[0]) == ["path", "problem"]
    assert re.search(problem, alone.json()[0]["problem"]), alone.json()
    answer = post(server, png(1, 40), ("x.png", data), png(2, 40))
    assert answer.status_code == 200
    first, broken, last = answer.json()
    assert broken == alone.json()[0] and first["predicted"] in CLASSES and last["predicted"] in CLASSES


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (422, {}),
        (422, {"json": {"files": ["/etc/passwd"]}}),
        (422, {"data": {"files": "/etc/passwd"}}),
        (422, {"files": {"other": png()}}),
        (422, {"data": png(), "headers": {"Content-Type": "image/png"}}),
        (400, {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        (400, {"data": b"no boundary", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
        (400, {"files": [("files", png())] * (MAX_FILES + 1)}),
        (413, {"files": [("files", bytes(MAX_FILE))] * 3}),
        (413, {"data": CHUNKS, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
    ],
    ids=range(10),
)
def test_a_request_of_another_kind_is_refused(server, status, arguments):
    answer = requests.post(f"{server.url}/predict", **arguments, timeout=20)
    assert answer.status_code == status, answer.text
    assert str(ROOT) not in answer.text and "root:" not in answer.text
    assert_answers(server)


def test_what_is_too_large_is_refused_before_it_is_sent(server):
    with closing(connect(server)) as sock:
        sock.sendall(start_of_request(length=10**12))
        assert response_of(sock).status == 413
    assert_answers(server)


@pytest.mark.parametrize("sent", [b"", b"P", b"POST /predict HT", b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_connection_whose_headers_do_not_come_is_closed(server, sent):
    with closing(connect(server)) as sock:
        start = time.monotonic()
        while time.monotonic() - start < 15:
            try:
                sock.sendall(sent[:1] and b"x" if time.monotonic() > start + 0.5 else sent)  # trickles on
                sock.settimeout(0.2)
                assert sock.recv(100) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.monotonic() - start < 10 * MAX_IDLE


@pytest.mark.parametrize("sent", [b"", b"--b\r\n", multipart(png())[:200]])
def test_a_body_that_does_not_come_ends_in_503(server, sent):
    with closing(connect(server)) as sock:
        sock.sendall(start_of_request(sent))
        start = time.monotonic()
        response = response_of(sock)
        assert response.status == 503 and int(response.headers["Retry-After"]) > 0
        assert time.monotonic() - start < 5 * MAX_SECONDS
    assert_answers(server)


def test_too_many_requests_end_in_503_and_health_answers(server):
    with ExitStack() as stack:
        for _ in range(MAX_REQUESTS):
            stack.enter_context(closing(connect(server))).sendall(start_of_request(b"--b\r\n"))
        time.sleep(0.3)
        answer = post(server, png())
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        assert requests.get(f"{server.url}/health", timeout=20).status_code == 200
    for _ in range(50):
        if post(server, png()).status_code == 200:
            return
        time.sleep(0.1)
    raise AssertionError("the places of clients that have gone are not free again")


@pytest.mark.parametrize("share", [0.3, 0.9, 1])
def test_clients_that_go_away_do_no_harm(server, share):
    body = multipart(png())
    for _ in range(3 * MAX_REQUESTS):
        with closing(connect(server)) as sock:
            sock.sendall(start_of_request(body[: round(share * len(body))], len(body)))
    for _ in range(50):
        if post(server, png()).status_code == 200:
            break
        time.sleep(0.1)
    assert_answers(server)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/static-offline-docs/../../../../../../etc/passwd",
        "/static-offline-docs/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static-offline-docs//etc/passwd",
        "/static-offline-docs/",
        "/predict/../stages/tools/serve.py",
        "/file:///etc/passwd",
    ],
)
def test_no_file_of_the_machine_can_be_read(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", path)  # as it is; requests would resolve the dots
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status in (404, 405) and "root:" not in text and str(ROOT) not in text


@pytest.mark.parametrize("garbage", [b"\0\xff\xfe\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000, b"\r\n" * 20])
def test_what_is_no_http_is_refused(server, garbage):
    with closing(connect(server)) as sock:
        sock.sendall(garbage)
        with ExitStack() as stack:
            stack.callback(sock.close)
            try:
                assert sock.recv(1000).startswith((b"HTTP/1.1 4", b""))
            except ConnectionError:
                pass
    assert_answers(server)


def test_health_metrics_and_documentation(server):
    health = requests.get(f"{server.url}/health", timeout=20)
    assert (health.status_code, health.json()) == (200, {"status": "ok", "classes": CLASSES})
    before = metrics(server)
    post(server, png(), b"no image", png(1))
    post(server, b"no image")
    after = metrics(server)
    new = {name: value - before.get(name, 0) for name, value in after.items()}
    for name, count in {
        'predict_request_seconds_count{status="200"}': 1,
        'predict_request_seconds_count{status="422"}': 1,
        'predict_images_total{outcome="predicted"}': 2,
        'predict_images_total{outcome="unreadable"}': 2,
        "predict_batch_images_sum": 2,
    }.items():
        assert new[name] == count, name
    assert after["predict_waiting_images"] == 0
    page = requests.get(f"{server.url}/docs", timeout=20).text
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 3 and all(x.startswith("/") and not x.startswith("//") for x in sources)
    assert all(requests.get(server.url + x, timeout=20).status_code == 200 for x in sources)
    schema = requests.get(f"{server.url}/openapi.json", timeout=20).json()
    assert {"/predict", "/health", "/metrics"} == schema["paths"].keys()


@pytest.mark.parametrize("package", ["fastapi", "fastapi_offline", "uvicorn", "prometheus_client"])
def test_a_missing_package_ends_in_a_line(monkeypatch, package):
    monkeypatch.setattr("stages.model.backend.start", lambda: None)
    monkeypatch.setattr("stages.model.backend.use_one_thread_per_call", lambda: None)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "stages.tools.serve")
    with pytest.raises(SystemExit) as end:
        runpy.run_module("stages.tools.serve", run_name="__main__")
    assert end.value.code == f"ERROR: {package} is not installed: run `pip install -r requirements-serve.txt`."


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["--port", "70000"], 2, "--port 70000: a number from 0 to 65535 is needed"),
        (["--port", "x"], 2, "invalid int"),
        (["--model", "nothing"], 1, "dvc repro"),
    ],
)
def test_a_wrong_argument_ends_in_a_line(monkeypatch, capsys, arguments, status, error):
    monkeypatch.setattr(sys, "argv", sys.argv)
    _, errors = run_command(serve.main, "serve", arguments, capsys, status)
    assert error in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "in use"), ("nowhere.invalid", ""), ("192.0.2.1", "assign")]
)
def test_an_address_where_it_cannot_listen_ends_in_a_line(monkeypatch, capsys, host, reason):
    monkeypatch.setattr(sys, "argv", sys.argv)
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"--host {host} --port {other.getsockname()[1]}"
        _, errors = run_command(serve.main, "serve", where.split(), capsys, 2)
    line = errors.splitlines()[-1]
    assert f"error: {where}: " in line and reason in line and "a free port" in line


def test_sigterm_lets_requests_finish(server):
    """It ends the server, so it is the last one."""
    body = multipart(png())
    with closing(connect(server)) as sock:
        sock.sendall(start_of_request(body[:100], len(body)))
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        sock.sendall(body[100:])
        response = response_of(sock)
        assert response.status == 200 and json.loads(response.read())[0]["predicted"] in CLASSES
    assert server.process.wait(10) == 0
    with pytest.raises(ConnectionError):
        connect(server)
