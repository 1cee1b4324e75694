"""The embedded PulseStream as a server: beside other things in a process, or as a process of its own."""

from __future__ import annotations

import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from rxbridge.pulsestream_server.application import create_application
from rxbridge.pulsestream_server.store import Store

KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 5
"""How long a shutdown waits for requests that still run, before it cuts them off."""


class EmbeddedPulseStream:
    """A PulseStream on 127.0.0.1, in a thread of its own, while the context lasts.

    Args:
        database: Path of the SQLite file, created if absent; `:memory:` for none. It may be used again later, by one
            server at a time; any other process may read it meanwhile.
        api_key: The key of a tenant that exists from the start, and is found again in a database that has it. None:
            there is no such tenant.
        rate_limit: Events per tenant and clock minute; 0 for no limit.
        latency_seconds: How long each answer is held back.
        port: 0 takes a free one.
        clock: Gives Unix time in seconds: what counts as now, and as this minute.
        middleware: What wraps the application, outermost first; the place for a fault.
    """

    def __init__(
        self,
        *,
        database: str | Path = ":memory:",
        api_key: str | None = None,
        rate_limit: int = 100,
        latency_seconds: float = 0.0,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self._database = database
        self._api_key = api_key
        self._rate_limit = rate_limit
        self._latency_seconds = latency_seconds
        self._port = port
        self._clock = clock
        self._middleware = middleware
        self._resources = ExitStack()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The base address, such as `http://127.0.0.1:8000`; empty before the first start."""
        return self._url

    def start(self) -> None:
        """Open the database and the port, and serve. Requests are answered from here on.

        Raises:
            sqlite3.Error: The database cannot be opened.
            OSError: The port cannot be opened.
        """
        if self._thread is not None:
            raise RuntimeError("the server runs already")
        with ExitStack() as resources:
            store = Store(self._database)
            resources.callback(store.close)
            if self._api_key is not None and store.tenant_by_key(self._api_key) is None:
                slug = f"embedded-{secrets.token_hex(4)}"
                store.add_tenant(name="Embedded", slug=slug, contact_email=None, api_key=self._api_key)
            listener = _listen(self._port)
            resources.callback(listener.close)
            self._url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._server = uvicorn.Server(_configuration(self._application(store)))
            self._thread = threading.Thread(
                target=self._server.run, args=([listener],), name="embedded-pulsestream", daemon=True
            )
            self._thread.start()
            self._resources = resources.pop_all()

    def request_stop(self) -> None:
        """Let the server end soon; only sets a flag, so a signal handler may call it."""
        if self._server is not None:
            self._server.should_exit = True

    def wait(self) -> None:
        """Wait until the server has ended, then close the database."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._resources.close()

    def stop(self) -> None:
        """End the server: requests that run are answered and committed first. Twice is as good as once."""
        self.request_stop()
        self.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _application(self, store: Store) -> Starlette:
        return create_application(
            store,
            rate_limit=self._rate_limit,
            latency_seconds=self._latency_seconds,
            clock=self._clock,
            middleware=self._middleware,
        )


def serve(
    *,
    port: int = 8000,
    database: str | Path = ":memory:",
    api_key: str | None = None,
    rate_limit: int = 100,
    latency_seconds: float = 0.0,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM comes, then stop cleanly and return. For the main thread only.

    Args:
        port: 0 takes a free one.
        database: As in `EmbeddedPulseStream`.
        api_key: Likewise.
        rate_limit: Likewise.
        latency_seconds: Likewise.
        on_ready: Called with the base address when requests are answered.

    Raises:
        sqlite3.Error: The database cannot be opened.
        OSError: The port cannot be opened.
    """
    server = EmbeddedPulseStream(
        database=database, api_key=api_key, rate_limit=rate_limit, latency_seconds=latency_seconds, port=port
    )

    def end(_signal: int, _frame: FrameType | None) -> None:
        server.request_stop()

    with ExitStack() as handlers:
        server.start()
        handlers.callback(server.stop)
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers.callback(signal.signal, number, signal.signal(number, end))
        if on_ready is not None:
            on_ready(server.url)
        server.wait()


def _listen(port: int) -> socket.socket:
    """A socket that listens at once: a client that comes before the thread is ready waits in the backlog."""
    # The protocol is named because asyncio turns Nagle's algorithm off only where it reads TCP: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _configuration(application: Starlette) -> uvicorn.Config:
    # Logging stays as the process has it: uvicorn's own configuration would be the whole process's.
    return uvicorn.Config(
        application,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
