"""A server that does as it is told, events, and time that passes only when somebody waits."""

import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from loguru import logger

from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import PulseStreamClient

KEY = 'k3y-that/must "never" show-Ünder any name'

STORED = "Event ingested successfully"
ALREADY_STORED = "Event already exists (idempotent)"
RATE_LIMIT = "Rate limit exceeded. Limit: 100 events per 60 seconds"
FUTURE = "timestamp: Event timestamp cannot be more than 5 minutes in the future"


class Request(NamedTuple):
    """What the server was asked; `connection` is another number for each connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for event in json.loads(self.body)["events"]]


Step = Callable[["Handler", Request], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.script = cast("ScriptedServer", self.server)
        self.number = next(self.script.connections)

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, dict(self.headers), body, self.number)
        with self.script.lock:
            self.script.requests.append(request)
            self.script.in_flight += 1
            self.script.most_in_flight = max(self.script.in_flight, self.script.most_in_flight)
            if self.script.search is not None and "/events/search" in self.path:
                step = self.script.search
            else:
                step = self.script.steps.popleft() if self.script.steps else self.script.otherwise
        try:
            step(self, request)
        finally:
            with self.script.lock:
                self.script.in_flight -= 1

    do_GET = do_POST = answer  # noqa: N815

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(body))} | dict(headers or {})
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        if self.script.clock is not None:
            return formatdate(self.script.clock(), usegmt=True)
        return self.script.date or super().date_time_string(timestamp)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        del format, args


class ScriptedServer(ThreadingHTTPServer):
    """Answers each request by the next step of its script, then like a PulseStream that is well.

    `stored` holds what it has, by event id. `poison` are ids that its database cannot take; while it is `read_only`, it
    takes nothing new. With a step of its own for each `search`, that is no step of the script.
    """

    daemon_threads = True
    block_on_close = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.scheme = "http" if tls is None else "https"
        self.lock = threading.Lock()
        self.connections = iter(range(1, 1_000_000))
        self.steps: deque[Step] = deque()
        self.requests: list[Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.stored: dict[str, dict[str, Any]] = {}
        self.poison: set[str] = set()
        self.date = ""
        self.clock: Callable[[], float] | None = None
        self.read_only = False
        self.search: Step | None = None
        self.admits: Callable[[], bool] = lambda: True
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up on us is part of the script."""

    def forget(self) -> None:
        """Let go of requests that hang, and begin anew."""
        self.over.set()
        deadline = time.monotonic() + 30
        while self.in_flight:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        self.over = threading.Event()
        self.steps.clear()
        self.requests.clear()
        self.stored.clear()
        self.poison.clear()
        self.date = ""
        self.clock = None
        self.read_only = False
        self.search: Step | None = None
        self.admits: Callable[[], bool] = lambda: True
        self.most_in_flight = 0

    def script(self, *steps: Step) -> None:
        self.steps.extend(steps)

    # What a healthy server does

    def take(self, body: bytes) -> dict[str, Any] | None:
        """Store a batch, all of it or, because of one event, nothing."""
        events: list[dict[str, Any]] = json.loads(body)["events"]
        if any(event["event_id"] in self.poison for event in events):
            return None
        if self.read_only and any(event["event_id"] not in self.stored for event in events):
            return None
        results: list[dict[str, Any]] = []
        for event in events:
            known = event["event_id"] in self.stored
            if not known and not self.admits():
                results.append(self.result(event["event_id"], "Event ingestion failed", RATE_LIMIT))
                continue
            self.stored.setdefault(event["event_id"], event)
            results.append(self.result(event["event_id"], ALREADY_STORED if known else STORED))
        return self.batch_answer(results)

    def otherwise(self, handler: Handler, request: Request) -> None:
        if "/events/search" in request.path:
            handler.send(200, json.dumps(self.found(parse_qs(urlsplit(request.path).query))).encode())
        elif request.method == "GET":
            handler.send(200, b'{"status":"healthy","limit":100,"remaining":100}')
        elif (answer := self.take(request.body)) is None:
            self.status(500, {"error": "HTTP_ERROR", "message": "Batch event ingestion failed"})(handler, request)
        else:
            handler.send(200, json.dumps(answer).encode())

    def found(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        """What a search by exact timestamp and service gives."""
        (service,), (moment,) = query["service"], query["start_time"]
        rows = [
            {"id": event_id, "external_id": event_id, "timestamp": moment, "source": service}
            for event_id, event in self.stored.items()
            if event.get("timestamp") == moment and event["source"]["service"] == service
        ]
        return {"events": rows, "total_count": len(rows)}

    @staticmethod
    def result(event_id: str, message: str, *errors: str) -> dict[str, Any]:
        success = message in (STORED, ALREADY_STORED)
        return {"success": success, "event_id": event_id, "message": message, "errors": list(errors) or None}

    @staticmethod
    def batch_answer(results: list[dict[str, Any]]) -> dict[str, Any]:
        successes = sum(bool(result["success"]) for result in results)
        return {
            "batch_id": "b",
            "total_events": len(results),
            "successful_events": successes,
            "failed_events": len(results) - successes,
            "results": results,
        }

    # Steps

    def status(self, status: int, content: Any, **headers: str) -> Step:
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda handler, _: handler.send(status, body, named)

    def results(self, *results: tuple[str, ...]) -> Step:
        """A 200 with these messages and errors for the events, in order; successes are stored."""

        def step(handler: Handler, request: Request) -> None:
            events: list[dict[str, Any]] = json.loads(request.body)["events"]
            answers: list[dict[str, Any]] = []
            for event, (message, *errors) in zip(events, results, strict=True):
                if message in (STORED, ALREADY_STORED):
                    self.stored.setdefault(event["event_id"], event)
                answers.append(self.result(event["event_id"], message, *errors))
            handler.send(200, json.dumps(self.batch_answer(answers)).encode())

        return step

    def altered(self, alter: Callable[[dict[str, Any]], None], *, store: bool = False) -> Step:
        """A good answer, spoiled."""

        def step(handler: Handler, request: Request) -> None:
            events: list[dict[str, Any]] = json.loads(request.body)["events"]
            if store:
                self.take(request.body)
            answer = self.batch_answer([self.result(event["event_id"], STORED) for event in events])
            alter(answer)
            handler.send(200, json.dumps(answer).encode())

        return step

    def stored_but(self, step: Step) -> Step:
        """The server has the events, and then something else happens."""

        def both(handler: Handler, request: Request) -> None:
            self.take(request.body)
            step(handler, request)

        return both

    def reset(self, handler: Handler, _: Request) -> None:
        """The connection breaks instead of an answer."""
        handler.close_connection = True
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.shutdown(socket.SHUT_RD)
        handler.rfile.close()
        handler.connection.close()

    def hang_up(self, handler: Handler, _: Request) -> None:
        """The connection is closed politely, without an answer."""
        handler.close_connection = True

    def hang(self, handler: Handler, _: Request) -> None:
        """No answer, until the test is over."""
        handler.close_connection = True
        self.over.wait()

    def then_hang_up(self, step: Step) -> Step:
        """A step, after which the connection is closed without a word in the headers."""

        def both(handler: Handler, request: Request) -> None:
            step(handler, request)
            handler.close_connection = True

        return both

    def drip(self, handler: Handler, _: Request) -> None:
        """An answer that comes a byte at a time, and never all of it."""
        handler.close_connection = True
        over = self.over
        handler.send(200, b"{", {"Content-Length": "1000"})
        while not over.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    def cut_short(self, handler: Handler, _: Request) -> None:
        """An answer that ends before its announced length."""
        handler.close_connection = True
        handler.send(200, b'{"total_events":', {"Content-Length": "1000"})


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Generator[ScriptedServer]:
    with ScriptedServer(tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def running_server() -> Iterator[ScriptedServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(running_server: ScriptedServer) -> ScriptedServer:
    running_server.forget()
    return running_server


class TlsServer(NamedTuple):
    """A server with a certificate that only the file makes trusted."""

    server: ScriptedServer
    certificate: Path


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Callable[[str], TlsServer]]:
    """Starts a server whose certificate is for a name such as `IP:127.0.0.1`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    with ExitStack() as servers:

        def start(name: str) -> TlsServer:
            files = ["-keyout", str(key), "-out", str(certificate)]
            names = ["-subj", "/CN=tests", "-addext", f"subjectAltName={name}"]
            subprocess.run([*make, *files, *names], check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            return TlsServer(servers.enter_context(running(context)), certificate)

        yield start


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[PulseStreamClient]:
    """One for which no time passes between two requests, and that waits for an answer as long as it takes."""
    with PulseStreamClient(server.url, KEY, read_timeout_seconds=30, monotonic=lambda: 1000.0) as client:
        yield client


@pytest.fixture
def hasty(server: ScriptedServer) -> Iterator[PulseStreamClient]:
    """One that soon gives up an answer."""
    with PulseStreamClient(server.url, KEY, read_timeout_seconds=0.25) as client:
        yield client


@pytest.fixture(scope="session")
def make_events() -> Callable[..., list[EncodedEvent]]:
    """`count` events, the first with the number and offset `first`."""

    def make(count: int, first: int = 1, timestamp: str = "2024-05-01T12:00:00") -> list[EncodedEvent]:
        events: list[EncodedEvent] = []
        for number in range(first, first + count):
            content = {
                "event_type": "custom_event",
                "event_id": f"event-{number}",
                "title": f"BTC-USD {number}",
                "source": {"service": "tests", "endpoint": "/", "method": "WS"},
                "payload": {"price": number + 0.5},
                "timestamp": timestamp,
            }
            event_id, title, moment = f"event-{number}", f"BTC-USD {number}", datetime.fromisoformat(timestamp)
            events.append(EncodedEvent(event_id, title, number + 0.5, number, moment, json.dumps(content).encode()))
        return events

    return make


class FakeTime(threading.Event):
    """A stop event, and the only clock: time passes when somebody waits for the event, and then at once.

    `at_wait` says what happens in which wait (from 1): it is called before time passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_800_000_000.0
        self.waits: list[float] = []
        self.at_wait: dict[int, Callable[[], None]] = {}

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "a wait without an end"
        self.waits.append(timeout)
        self.at_wait.get(len(self.waits), lambda: None)()
        if not self.is_set():
            self.now += timeout
        return self.is_set()

    def seconds(self) -> float:
        return self.now

    def nanoseconds(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def make_time() -> Callable[[], FakeTime]:
    return FakeTime


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Every log line, tracebacks with the values of all variables included."""
    lines: list[str] = []
    number = logger.add(lines.append, level="DEBUG", format="{level} {message}", diagnose=True, backtrace=True)
    yield lines
    logger.remove(number)
