"""The embedded PulseStream as a server: beside other things in a process, or as a process of its own."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import uvicorn
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from rxbridge.errors import ConfigError
from rxbridge.faults import Fault, Faults
from rxbridge.pulsestream_server.application import create_application
from rxbridge.pulsestream_server.connection import Connection
from rxbridge.pulsestream_server.faulty_application import FaultyApplication
from rxbridge.pulsestream_server.listening import HOST, ScheduledServer, listening
from rxbridge.pulsestream_server.store import Store
from rxbridge.pulsestream_server.tls import FAULT as WRONG_CERTIFICATE
from rxbridge.pulsestream_server.tls import faulty_tls_context

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
        middleware: What wraps the application, outermost first; the place for a fault of one's own.
        faults: What goes wrong, and when, in seconds since requests are answered. Those of the feed do not matter.
        seed: Of the dice that the faults roll.
        tls_certificate: A PEM file; with it the server speaks HTTPS, and only that.
        tls_key: A PEM file, its private key.

    Raises:
        ConfigError: One of the two files is given and the other is not, or there is none for a `wrong_certificate`.
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
        faults: Iterable[Fault] = (),
        seed: int = 1,
        tls_certificate: str | Path | None = None,
        tls_key: str | Path | None = None,
    ) -> None:
        self._database = database
        self._api_key = api_key
        self._rate_limit = rate_limit
        self._latency_seconds = latency_seconds
        self._port = port
        self._clock = clock
        self._middleware = middleware
        self._schedule = tuple(faults)
        self._seed = seed
        self._faults = Faults(self._schedule, side="sink", seed=seed)
        self._tls = _both(tls_certificate, tls_key)
        if self._faults.of(WRONG_CERTIFICATE) and self._tls is None:
            raise ConfigError(WRONG_CERTIFICATE, "the server speaks no TLS", "Give it a certificate and a key")
        self._resources = ExitStack()
        self._server: ScheduledServer | None = None
        self._thread: threading.Thread | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The base address, such as `http://127.0.0.1:8000`; empty before the first start."""
        return self._url

    @property
    def faults_fired(self) -> Mapping[str, int]:
        """How often each kind of fault has happened since the last start, those of the schedule that never did too."""
        return dict(self._faults.counts)

    def start(self) -> None:
        """Open the database and the port, and serve. Requests are answered from here on.

        Raises:
            ConfigError: A certificate or its key cannot be used.
            sqlite3.Error: The database cannot be opened.
            OSError: The port cannot be opened.
        """
        if self._thread is not None:
            raise RuntimeError("the server runs already")
        self._faults = Faults(self._schedule, side="sink", seed=self._seed)
        stopping = asyncio.Event()
        with ExitStack() as resources:
            store = Store(self._database)
            resources.callback(store.close)
            if self._api_key is not None and store.tenant_by_key(self._api_key) is None:
                slug = f"embedded-{secrets.token_hex(4)}"
                store.add_tenant(name="Embedded", slug=slug, contact_email=None, api_key=self._api_key)
            configuration = self._configuration(self._application(store, stopping))
            listener = listening(self._port)
            resources.callback(listener.close)
            port: int = listener.getsockname()[1]
            self._url = f"{'http' if self._tls is None else 'https'}://{HOST}:{port}"
            self._server = ScheduledServer(configuration, port=port, faults=self._faults, stopping=stopping)
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
        """Wait until the server has ended, then close the database.

        Raises:
            OSError: It ended because it could not get its port back after a `refuse`.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._resources.close()
        server, self._server = self._server, None
        if server is not None and server.failure is not None:
            raise server.failure

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

    def _application(self, store: Store, stopping: asyncio.Event) -> ASGIApp:
        application = create_application(
            store,
            rate_limit=self._rate_limit,
            latency_seconds=self._latency_seconds,
            clock=self._clock,
            middleware=self._middleware,
        )
        if not self._faults:
            return application
        return FaultyApplication(application, self._faults, stopping=stopping)

    def _configuration(self, application: ASGIApp) -> uvicorn.Config:
        # Logging stays as the process has it: uvicorn's own configuration would be the whole process's.
        configuration = uvicorn.Config(
            application,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        configuration.load()
        if self._tls is not None:
            configuration.ssl = faulty_tls_context(*self._tls, self._faults)
        return configuration


def serve(
    *,
    port: int = 8000,
    database: str | Path = ":memory:",
    api_key: str | None = None,
    rate_limit: int = 100,
    latency_seconds: float = 0.0,
    faults: Iterable[Fault] = (),
    seed: int = 1,
    tls_certificate: str | Path | None = None,
    tls_key: str | Path | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> Mapping[str, int]:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM comes, then stop cleanly and return. For the main thread only.

    Args:
        port: 0 takes a free one.
        database: As in `EmbeddedPulseStream`.
        api_key: Likewise.
        rate_limit: Likewise.
        latency_seconds: Likewise.
        faults: Likewise.
        seed: Likewise.
        tls_certificate: Likewise.
        tls_key: Likewise.
        on_ready: Called with the base address when requests are answered.

    Returns:
        How often each kind of fault has happened.

    Raises:
        ConfigError: An argument makes no sense, or a certificate or its key cannot be used.
        sqlite3.Error: The database cannot be opened.
        OSError: The port cannot be opened, or not again after a `refuse`.
    """
    server = EmbeddedPulseStream(
        database=database,
        api_key=api_key,
        rate_limit=rate_limit,
        latency_seconds=latency_seconds,
        port=port,
        faults=faults,
        seed=seed,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
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
    return server.faults_fired


def _both(certificate: str | Path | None, key: str | Path | None) -> tuple[str | Path, str | Path] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("tls_key" if key is None else "tls_certificate", "TLS needs a certificate and its key")
    return certificate, key
