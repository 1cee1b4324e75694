"""The command with a file of faults: what it says at its end, and what a kill takes with it."""

import re
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

KEY = "the-key-of-this-test"
WaitFor = Callable[..., None]


class Sink:
    """`rxbridge pulsestream` in a process of its own."""

    def __init__(self, command: Any, wait_for: WaitFor, *options: object) -> None:
        self.running = command("pulsestream", "--port", 0, "--rate-limit", 0, *options, PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: "pulsestream: " in self.running.stderr or self.running.process.poll() is not None)
        told = re.search(r"pulsestream: (\S+)", self.running.stderr)
        assert told, self.running.stderr
        self.url = told[1]


@pytest.fixture
def sink(command: Any, wait_for: WaitFor) -> Callable[..., Sink]:
    """Starts one with these options."""

    def start(*options: object) -> Sink:
        return Sink(command, wait_for, *options)

    return start


def rows(database: Path) -> int:
    connection = sqlite3.connect(database)
    (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return count


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_fired_is_said_at_the_end(
    sink: Callable[..., Sink], client: Any, new_event: Any, tmp_path: Path, number: signal.Signals
) -> None:
    faults = written(
        tmp_path / "faults.toml",
        """
        [[fault]]
        kind = "fail"
        times = 2

        [[fault]]
        kind = "close"

        [[fault]]
        kind = "lose"
        at = 3600.0

        [[fault]]
        kind = "hang"
        delay_seconds = 3600.0
        """,
    )
    running = sink("--faults", faults, "--database", tmp_path / "events.sqlite")
    tenant = client(running.url, KEY)
    assert [tenant.post_event(new_event()).status_code for _ in range(2)] == [500, 500]
    url, headers = running.url + "/api/v1/ingestion/events", {"X-API-Key": KEY}
    with pytest.raises(requests.ReadTimeout):
        requests.post(url, json=new_event(), headers=headers, timeout=(30, 1))
    running.running.send(number)

    assert running.running.wait() == 0
    assert running.running.stderr.splitlines() == [f"pulsestream: {running.url}", "faults fired: fail=2 lose=0 hang=1"]


def test_without_a_file_nothing_is_said_of_faults(sink: Callable[..., Sink], tmp_path: Path) -> None:
    running = sink("--database", tmp_path / "events.sqlite")
    running.running.send(signal.SIGTERM)

    assert running.running.wait() == 0
    assert running.running.stderr == f"pulsestream: {running.url}\n"


def test_a_kill_between_answer_and_commit_loses_the_batch(
    sink: Callable[..., Sink], client: Any, new_event: Any, tmp_path: Path
) -> None:
    database = tmp_path / "events.sqlite"
    faults = written(tmp_path / "faults.toml", '[[fault]]\nkind = "lose"\ncommit_after_seconds = 3600\n')
    batch = [new_event() for _ in range(500)]
    first = sink("--faults", faults, "--database", database)
    told = client(first.url, KEY).post_batch(batch)
    first.running.send(signal.SIGKILL)
    first.running.wait()
    lost = rows(database)
    second = sink("--database", database)
    again = client(second.url, KEY).post_batch(batch)

    assert (told["successful_events"], lost) == (500, 0)
    assert {result["message"] for result in again["results"]} == {"Event ingested successfully"}
    second.running.send(signal.SIGTERM)
    second.running.wait()
    assert rows(database) == 500


def test_a_file_that_is_wrong_is_refused_before_anything_is_opened(command: Any, tmp_path: Path) -> None:
    faults = written(tmp_path / "faults.toml", '[[fault]]\nkind = "hnag"\n')
    running = command(
        "pulsestream", "--faults", faults, "--database", tmp_path / "events.sqlite", PULSESTREAM_API_KEY=KEY
    )

    assert running.wait() == 78
    assert "faults.toml: fault 1: kind: unknown fault 'hnag'; did you mean 'hang'?" in running.stderr
    assert not (tmp_path / "events.sqlite").exists()


def test_https_from_the_command_line(sink: Callable[..., Sink], new_certificate: Any, tmp_path: Path) -> None:
    own, wrong = new_certificate("IP:127.0.0.1"), new_certificate("IP:127.0.0.1")
    faults = written(
        tmp_path / "faults.toml",
        f'[[fault]]\nkind = "wrong_certificate"\ntimes = 1\ncertificate = "{wrong.certificate}"\nkey = "{wrong.key}"\n',
    )
    options = ("--tls-certificate", own.certificate, "--tls-key", own.key, "--faults", faults)
    running = sink(*options, "--database", tmp_path / "events.sqlite")

    def health() -> int:
        return requests.get(running.url + "/health", verify=str(own.certificate), timeout=30).status_code

    with pytest.raises(requests.exceptions.SSLError):
        health()
    assert (running.url.partition(":")[0], health()) == ("https", 200)
    running.running.send(signal.SIGTERM)
    assert running.running.wait() == 0
    assert running.running.stderr.splitlines()[-1] == "faults fired: wrong_certificate=1"


def test_tls_without_a_key_is_refused(command: Any, new_certificate: Any, tmp_path: Path) -> None:
    own = new_certificate("IP:127.0.0.1")
    running = command(
        *("pulsestream", "--tls-certificate", own.certificate, "--database", tmp_path / "events.sqlite"),
        PULSESTREAM_API_KEY=KEY,
    )

    assert running.wait() == 78
    assert "tls_key: TLS needs a certificate and its key" in running.stderr
