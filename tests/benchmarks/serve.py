"""Measures stages.tools.serve: its speed at 1, 8 and 64 clients, and whether it answers during hostile requests.

    python -m tests.benchmarks.serve FOLDER [--model FOLDER] [--requests 256] [--turns 3] [--hostile 1000]

Starts the server on 127.0.0.1. Each client sends requests of one image of FOLDER, one after the other: a client alone
is what "one request after the other" means, and the last table has the speeds of several clients against it. Hostile
requests are truncated images, huge ones (a header that claims 10 gigapixels, a length that claims a terabyte), other
types of files and of requests, and slow clients; beside each hundred of them, an image must be predicted.
"""

import argparse
import http.client
import io
import itertools
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

CLIENTS = (1, 8, 64)
SLOW, TRICKLED = 3, 60  # seconds that a slow client trickles; the last bytes, of which it sends one per second
HEAD = b'--b\r\nContent-Disposition: form-data; name="files"; filename="../../../etc/passwd"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
PATHS = ("/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static-offline-docs/..%2f..%2f..%2fetc%2fpasswd")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--model", default="data/models/classifier")
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--hostile", type=int, default=1000)
    arguments = parser.parse_args()
    images = [path.read_bytes() for path in sorted(arguments.folder.rglob("*")) if path.is_file()][:500]
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "stages.tools.serve", "--model", arguments.model, "--port", "0"]
        process = subprocess.Popen(command, stderr=log)
        try:
            port = find_port(process, log)
            measure(port, process.pid, images, arguments.requests, arguments.turns)
            if arguments.hostile:
                attack(port, process.pid, images[0], arguments.hostile)
        finally:
            process.terminate()
        print(f"exit status after SIGTERM: {process.wait(60)}")
        log.seek(0)
        print(f"tracebacks in its log: {log.read().count('Traceback')}")


def find_port(process, log):
    while process.poll() is None:
        log.seek(0)
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read()):
            return int(found[1])
        time.sleep(0.1)
    log.seek(0)
    sys.exit(log.read())


def predict(connection, image):
    """Posts an image; returns status and body."""
    connection.request("POST", "/predict", HEAD + image + TAIL, MULTIPART)
    response = connection.getresponse()
    return response.status, response.read().decode()


def measure(port, pid, images, count, turns):
    """Prints requests per second, latencies and the server's processor time at each number of CLIENTS."""
    rows, server = [], psutil.Process(pid)
    send(port, images[:8])
    for turn in range(turns):
        for clients in CLIENTS[::-1] if turn % 2 else CLIENTS:
            shares = [itertools.islice(itertools.cycle(images), k, count, clients) for k in range(clients)]
            before, start = sum(server.cpu_times()[:2]), time.perf_counter()
            with ThreadPoolExecutor(clients) as pool:
                seconds = np.concatenate(list(pool.map(lambda share: send(port, share), shares)))
            speed, cpu = count / (time.perf_counter() - start), sum(server.cpu_times()[:2]) - before
            low, high = np.quantile(seconds, [0.5, 0.95])
            rows.append((turn, clients, speed, 1000 * low, 1000 * high, 1000 * cpu / count))
    names = ["turn", "clients", "requests/s", "median ms", "95% ms", "processor ms"]
    table = pd.DataFrame(rows, columns=names)
    speeds = table.pivot(index="turn", columns="clients", values="requests/s")
    print(table.groupby("clients").median().drop(columns="turn").to_string(float_format="{:.1f}".format))
    print("times one client's speed, in each turn:")
    print(speeds.div(speeds[1], axis=0).to_string(float_format="{:.2f}".format))


def send(port, images):
    """Sends images one after the other; returns the seconds of each."""
    seconds = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for image in images:
            start = time.perf_counter()
            status, body = predict(connection, image)
            assert status == 200, body
            seconds.append(time.perf_counter() - start)
    return seconds


def attack(port, pid, image, count):
    """Sends hostile requests, 25 at a time, and prints the answers to each kind, and to images in between."""
    kinds, answers, texts, good, staying = list(hostile_requests(image)), Counter(), set(), [], []
    memory = psutil.Process(pid).memory_info().rss

    def one(number):
        kind, raw = kinds[number % len(kinds)]
        sock = send_bytes(port, kind, raw)
        if kind.startswith("slow"):
            staying.append((kind, sock))
        else:
            note(kind, sock)

    def note(kind, sock):
        status, text = answer_of(sock)
        answers[kind, status] += 1
        texts.add(text)

    with ThreadPoolExecutor(25) as pool:
        for start in range(0, count, 100):
            running = [pool.submit(one, number) for number in range(start, min(start + 100, count))]
            began = time.perf_counter()
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                good.append((predict(connection, image)[0], time.perf_counter() - began))
            for future in running:
                future.result()
    for kind, sock in staying:
        note(kind, sock)
    for (kind, status), number in sorted(answers.items(), key=str):
        print(f"{number:5} x {kind}: {status}")
    statuses = Counter(status for status, _ in good)
    print(f"images in between: {dict(statuses)}, at most {max(seconds for _, seconds in good):.2f} s")
    print(
        f"memory of the server: {memory / 1e6:.0f} MB before, {psutil.Process(pid).memory_info().rss / 1e6:.0f} after"
    )
    secrets = ["root:", str(Path.cwd()), sys.prefix, os.path.expanduser("~") + "/", tempfile.gettempdir()]
    print(
        f"answers that hold a path or a file of the machine: {sum(any(x in text for x in secrets) for text in texts)}"
    )


def hostile_requests(image):
    """Yields (kind, bytes of the request)."""

    def post(body, length=None, kind=MULTIPART["Content-Type"]):
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length or len(body)}"
        return f"{head}\r\n\r\n".encode() + body

    file = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(file, "PNG")
    claims = {b"IHDR": struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(b"")}
    chunks = [
        struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in claims.items()
    ]
    for share in (0.1, 0.5, 0.9, 0.99):
        yield "truncated image", post(HEAD + image[: int(share * len(image))] + TAIL)
    yield "truncated request", post((HEAD + image)[:-9], len(image) + 500)
    yield "huge: claims 10 gigapixels", post(HEAD + b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + TAIL)
    yield "huge: 25 black megapixels", post(HEAD + file.getvalue() + TAIL)
    yield "huge: claims a terabyte", post(HEAD, 10**12)
    yield "huge: 40 MB, no image", post(HEAD + bytes(40_000_000) + TAIL)
    yield "huge: a thousand files", post(1000 * (HEAD + b"x\r\n") + TAIL)
    for data in (b"text", b"%PDF-1.7", b"", b"PK\3\4" + bytes(99)):
        yield "wrong type of file", post(HEAD + data + TAIL)
    yield "wrong type of request", post(b'{"files": "/etc/passwd"}', kind="application/json")
    yield "wrong type of request", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"
    for path in PATHS:
        yield "path of the machine", f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    yield "slow headers", b"POST /predict HTTP/1.1\r\nHost: " + 99 * b"x"
    yield "slow body", post(HEAD + image + TAIL)


def send_bytes(port, kind, raw):
    """Opens a connection and sends bytes; a slow client trickles for SLOW seconds, and then only stays."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    try:
        if kind.startswith("slow"):
            sock.sendall(raw[:-TRICKLED])
            for k in range(SLOW):
                time.sleep(1)
                sock.sendall(raw[k - TRICKLED :][:1])
        else:
            sock.sendall(raw)
        if kind == "truncated request":
            sock.shutdown(socket.SHUT_WR)
    except ConnectionError:  # the server has answered before all was sent
        pass
    return sock


def answer_of(sock):
    """Returns status and text of the answer, or that there is none; closes the connection."""
    with closing(sock):
        try:
            response = http.client.HTTPResponse(sock)
            response.begin()
            return response.status, f"{response.headers}{response.read().decode(errors='replace')}"
        except (ConnectionError, http.client.HTTPException):
            return "closed without an answer", ""


if __name__ == "__main__":
    main()
