"""Serves predictions over HTTP.

    python -m stages.tools.serve [OPTIONS]

    --model FOLDER   the SavedModel (data/models/classifier)
    --host ADDRESS   address to listen on (127.0.0.1: only this machine can connect)
    --port PORT      port to listen on (8000; 0: any that is free)

POST /predict takes image files, `curl -F files=@a.jpg -F files=@b.jpg 127.0.0.1:8000/predict`, and answers in JSON as
`predict --format jsonl` does, with the problem of each file that cannot be read. GET /health, /metrics (Prometheus) and
/docs. There is no authentication and no TLS: put it behind a proxy. SIGTERM ends it once what it has is answered.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()
    backend.use_one_thread_per_call()

import asyncio
import dataclasses
import os
import signal
import socket
import sys
import warnings
from typing import Any

from stages.common import cli
from stages.model import saved_model
from stages.tools import inference
from stages.tools.batching import Batches
from stages.tools.inference import Prediction
from stages.tools.predict import MODEL

try:
    import prometheus_client as prometheus
    import uvicorn
    from fastapi import FastAPI, UploadFile
    from fastapi.responses import JSONResponse, Response
    from fastapi_offline import FastAPIOffline  # /docs without files from the internet

    from stages.tools import http_limits
except ImportError as error:
    if __name__ != "__main__":
        raise
    sys.exit(f"ERROR: {error.name} is not installed: run `pip install -r requirements-serve.txt`.")

MAX_FILE, MAX_REQUEST = 2**25, 2**26  # bytes
MAX_FILES = 64  # per request
REGISTRY = prometheus.CollectorRegistry()
REQUESTS = prometheus.Histogram("predict_request_seconds", "Requests to /predict", ["status"], registry=REGISTRY)
IMAGES = prometheus.Counter("predict_images", "Images that were sent", ["outcome"], registry=REGISTRY)
BATCHES = prometheus.Histogram("predict_batch_images", "Images per batch", buckets=[1, 2, 4, 8, 16], registry=REGISTRY)
WAITING = prometheus.Gauge("predict_waiting_images", "Images that wait for a batch", registry=REGISTRY)


def application(model: Any) -> FastAPI:
    """Returns the application that predicts with a loaded SavedModel."""
    limits = {"max_files": MAX_FILES}
    app = FastAPIOffline(redoc_url=None, title="Image classifier", max_body_size=MAX_REQUEST, form_limits=limits)
    batches = Batches(model, BATCHES.observe)
    WAITING.set_function(lambda: len(batches.waiting))

    async def predict_file(file: UploadFile) -> dict[str, Any]:
        found = Prediction("", problem=f"{file.size:,} bytes, but the server takes {MAX_FILE:,} at most")
        if (file.size or 0) <= MAX_FILE:
            found = await batches.predict(file.read)
        IMAGES.labels("unreadable" if found.problem else "unlike" if found.unlike else "predicted").inc()
        found = dataclasses.replace(found, path=file.filename or "")  # a label, which is never opened
        return {"path": found.path, "problem": found.problem} if found.problem else inference.record(found)

    @app.post("/predict")
    async def predict(files: list[UploadFile]) -> Response:
        """Predicts image files; the status is 422 if none of them can be read."""
        found = await asyncio.gather(*map(predict_file, files))
        return JSONResponse(found, 422 if all("problem" in x for x in found) else 200)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "classes": inference.classes_of(model)}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(prometheus.generate_latest(REGISTRY), media_type=prometheus.CONTENT_TYPE_LATEST)

    return app


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    if arguments.port not in range(2**16):
        parser.error(f"--port {arguments.port}: a number from 0 to {2**16 - 1} is needed")
    try:  # before the seconds that loading takes
        family, *_, address = socket.getaddrinfo(arguments.host, arguments.port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address, family=family).close()
    except OSError as error:
        where = f"--host {arguments.host} --port {arguments.port}"
        parser.error(f"{where}: {error.strerror}: name an address of this machine and a free port")
    warnings.simplefilter("ignore")  # Pillow's warnings about odd metadata
    app = http_limits.add(application(saved_model.load(arguments.model)), "/predict", REQUESTS)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # uvicorn raises it again once all is answered
    uvicorn.run(app, host=arguments.host, port=arguments.port, ws="none", access_log=False, **http_limits.SETTINGS)


if __name__ == "__main__":
    cli.run(main)
