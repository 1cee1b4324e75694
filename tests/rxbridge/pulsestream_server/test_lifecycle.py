"""Starting, stopping, and the database in between and afterwards."""

import asyncio
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from rxbridge.pulsestream_server import EmbeddedPulseStream, Store

KEY = "the-key-of-this-test"

SERVE = """
import sys
from rxbridge.pulsestream_server import serve
serve(port=0, database=sys.argv[1], api_key=sys.argv[2], rate_limit=0, on_ready=lambda url: print(url, flush=True))
print("returned", flush=True)
"""


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port_of(url))) == 0


def test_it_starts_and_stops_and_leaves_nothing_behind(client: Any, new_event: Any) -> None:
    before = set(threading.enumerate())
    with EmbeddedPulseStream(api_key=KEY) as server:
        assert client(server.url, KEY).post_event(new_event()).status_code == 200

    assert set(threading.enumerate()) <= before
    assert not is_open(server.url)


def test_stopping_twice_is_as_good_as_once() -> None:
    server = EmbeddedPulseStream()
    server.start()
    server.stop()
    server.stop()

    assert not is_open(server.url)


def test_it_cannot_run_twice_but_again() -> None:
    with EmbeddedPulseStream() as server:
        with pytest.raises(RuntimeError, match="runs already"):
            server.start()
        first = server.url
    with server:
        assert requests.get(server.url + "/health", timeout=30).status_code == 200

    assert first.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_an_error_at_once(tmp_path: Path) -> None:
    with EmbeddedPulseStream() as server:
        other = EmbeddedPulseStream(port=port_of(server.url), database=tmp_path / "other.sqlite")
        with pytest.raises(OSError, match="in use"):
            other.start()

    assert other.url == ""
    assert not list(tmp_path.glob("*-wal")), "the database is still open"


def test_the_port_can_be_chosen_and_used_again() -> None:
    with EmbeddedPulseStream() as server:
        assert requests.get(server.url + "/health", timeout=30).status_code == 200
    with EmbeddedPulseStream(port=port_of(server.url)) as again:
        assert again.url == server.url
        assert requests.get(again.url + "/health", timeout=30).status_code == 200


def test_a_database_that_is_none_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 100, encoding="utf-8")

    for path in (tmp_path / "no such folder" / "events.sqlite", tmp_path / "text"):
        with pytest.raises(sqlite3.Error):
            EmbeddedPulseStream(database=path).start()


def test_it_works_outside_the_main_thread_and_leaves_signals_alone(client: Any, new_event: Any) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run() -> tuple[int, dict[signal.Signals, Any]]:
        with EmbeddedPulseStream(api_key=KEY) as server:
            status = client(server.url, KEY).post_event(new_event()).status_code
            return status, {number: signal.getsignal(number) for number in handlers}

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(run).result() == (200, handlers)


def test_it_works_beside_an_event_loop(client: Any, new_event: Any) -> None:
    async def run() -> int:
        with EmbeddedPulseStream(api_key=KEY) as server:
            return (await asyncio.to_thread(client(server.url, KEY).post_event, new_event())).status_code

    assert asyncio.run(run()) == 200


class Arrival:
    """Tells when a request has come."""

    def __init__(self, app: ASGIApp, *, arrived: threading.Event) -> None:
        self._app = app
        self._arrived = arrived

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._arrived.set()
        await self._app(scope, receive, send)


def test_a_request_that_runs_is_answered_and_committed_before_the_end(
    tmp_path: Path, client: Any, new_event: Any
) -> None:
    database, arrived = tmp_path / "events.sqlite", threading.Event()
    server = EmbeddedPulseStream(
        database=database,
        api_key=KEY,
        latency_seconds=0.3,
        middleware=[Middleware(Arrival, arrived=arrived)],
    )
    with ThreadPoolExecutor(1) as thread:
        with server:
            posting = thread.submit(client(server.url, KEY).post_batch, [new_event(), new_event()])
            assert arrived.wait(30)
        assert posting.result()["successful_events"] == 2

    assert count(database) == 2


def count(database: Path) -> int:
    connection = sqlite3.connect(database)
    (rows,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return rows


def test_a_second_run_finds_what_the_first_one_stored(tmp_path: Path, client: Any, new_event: Any) -> None:
    database, event = tmp_path / "events.sqlite", new_event()
    with EmbeddedPulseStream(database=database, api_key=KEY) as server:
        client(server.url, KEY).post_event(event)
    with EmbeddedPulseStream(database=database, api_key=KEY) as server:
        (result,) = client(server.url, KEY).post_batch([event])["results"]
        found = client(server.url, KEY).search()["events"]
    with EmbeddedPulseStream(database=database, api_key="another-key") as server:
        of_another = client(server.url, "another-key").search()["events"]
        of_the_first = client(server.url, KEY).search()["events"]

    assert result["message"] == "Event already exists (idempotent)"
    assert [item["external_id"] for item in found] == [event["event_id"]]
    assert (of_another, of_the_first) == ([], found)


def test_another_process_may_read_the_file_meanwhile(tmp_path: Path, client: Any, new_event: Any) -> None:
    database = tmp_path / "events.sqlite"
    query = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM events').fetchone())"
    counts: list[str] = []
    with EmbeddedPulseStream(database=database, api_key=KEY) as server:
        for _ in range(2):
            client(server.url, KEY).post_batch([new_event() for _ in range(10)])
            client(server.url, KEY).search()  # comes after the commit
            reader = subprocess.run([sys.executable, "-c", query, database], capture_output=True, text=True, check=True)
            counts.append(reader.stdout.strip())

    assert counts == ["(10,)", "(20,)"]


def test_the_key_itself_is_not_in_the_file(tmp_path: Path) -> None:
    database = tmp_path / "events.sqlite"
    with EmbeddedPulseStream(database=database, api_key=KEY):
        pass

    assert KEY.encode() not in database.read_bytes()
    store = Store(database)
    assert store.tenant_by_key(KEY) is not None
    store.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_returns_at_a_signal(tmp_path: Path, client: Any, new_event: Any, number: signal.Signals) -> None:
    database = tmp_path / "events.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, database, KEY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        client(url, KEY).post_batch([new_event() for _ in range(150)])
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)

    assert (process.returncode, output, errors) == (0, "returned\n", "")
    assert count(database) == 150


def test_what_was_committed_survives_a_kill(tmp_path: Path, client: Any, new_event: Any) -> None:
    database = tmp_path / "events.sqlite"
    with subprocess.Popen([sys.executable, "-c", SERVE, database, KEY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        client(url, KEY).post_batch([new_event() for _ in range(100)])
        client(url, KEY).search()  # comes after the commit
        process.kill()

    assert count(database) == 100
