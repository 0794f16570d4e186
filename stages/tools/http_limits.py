"""Limits of an HTTP server that FastAPI and uvicorn lack: of requests at a time, and of their time."""

import asyncio
import time
from typing import Any

from prometheus_client import Histogram
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_REQUESTS = 256  # requests that are received and answered at a time
MAX_SECONDS = 30  # seconds to receive and answer a request
MAX_IDLE = 10  # seconds until the headers of a connection's next request are complete
BUSY = {"detail": f"too many requests at a time, or more than {MAX_SECONDS} seconds for this one: try again later"}


class Connection(H11Protocol):
    """A connection that ends if headers take longer than MAX_IDLE, for which uvicorn 0.54 would wait without end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(MAX_IDLE, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        self.conn.receive_data(data)  # uvicorn stops the timer first; here, complete headers stop it
        self.handle_events()


# Of uvicorn.run.
SETTINGS: dict[str, Any] = {
    "http": Connection,
    "timeout_keep_alive": MAX_IDLE,
    "timeout_graceful_shutdown": MAX_SECONDS,
}


def add(app: ASGIApp, path: str, seconds: Histogram) -> ASGIApp:
    """Returns an application that has MAX_REQUESTS and MAX_SECONDS for a path. `seconds` measures them by status."""
    free = asyncio.Semaphore(MAX_REQUESTS)

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        async def observed(message: Message) -> None:
            statuses.extend([message["status"]] if "status" in message else [])
            await send(message)

        if scope.get("path") != path:
            return await app(scope, receive, send)
        start, statuses = time.perf_counter(), list[int]()
        try:
            async with asyncio.timeout(0 if free.locked() else MAX_SECONDS), free:
                await app(scope, receive, observed)
        except TimeoutError:
            if not statuses:
                await JSONResponse(BUSY, 503, {"Retry-After": "5"})(scope, receive, observed)
        finally:
            seconds.labels(*statuses or [500]).observe(time.perf_counter() - start)

    return limited
