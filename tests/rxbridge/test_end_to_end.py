"""The whole bridge, as real processes over loopback: nothing lost, nothing twice, whatever happens to them."""

import json
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.recording import read
from rxbridge.simulator import Simulator
from tests.ports import free_port
from tests.rxbridge.played import is_delivered, last_frame, times_arrived

KEY = "a-key-that-must-not-leak"
PRODUCTS = ("BTC-USD", "ETH-USD")
Start = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with EmbeddedPulseStream(database=str(tmp_path / "stored.sqlite"), api_key=KEY, rate_limit=0) as server:
        yield server


def arguments(simulator: Simulator, url: str, journal: Path, *more: object) -> list[object]:
    feed = ["--feed-url", simulator.url, "--products", "BTC-USD,ETH-USD", "--channels", "ticker,matches"]
    return ["run", *feed, "--pulsestream-url", url, "--journal", journal, *more]


def played(recording: Path, speed: float) -> Simulator:
    return Simulator(recording=partial(read, recording), speed=speed)


def ended(run: Any) -> int:
    """The exit code of a bridge that is told to end."""
    run.send(signal.SIGTERM)
    return run.wait()


def trades_in(database: Path) -> dict[str, set[int]]:
    """The ids of the trades that PulseStream has, by product."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT external_id FROM events WHERE external_id LIKE '%-match-%'").fetchall()
    found: dict[str, set[int]] = {}
    for (key,) in rows:
        product, _, trade = key.removeprefix("coinbase-").partition("-match-")
        found.setdefault(product, set()).add(int(trade))
    return found


def has_all_trades(database: Path, simulator: Simulator) -> bool:
    """Whether they are all there, from the first of them to the last that was made; the market must stand still."""
    found = trades_in(database)
    return found.keys() == set(PRODUCTS) and all(
        ids == set(range(min(ids), simulator.trades(product).stop)) for product, ids in found.items()
    )


def verify(command: Start, url: str, journal: Path, expected_code: int = 0) -> dict[str, Any]:
    done = command("verify", "--json", "--pulsestream-url", url, "--journal", journal, PULSESTREAM_API_KEY=KEY)
    assert done.wait() == expected_code, done.stderr
    return json.loads(done.stdout)


def assert_exact(audit: dict[str, Any], events: int) -> None:
    """Everything is stored once, and so is a notice of each gap, such as of the quotes that a restart cost."""
    counts = {name: audit[name] for name in ("received", "delivered", "stored")}
    assert counts == dict.fromkeys(counts, events + audit["gaps"])
    faults = ("dead", "dropped", "waiting", "duplicates", "missing", "unreadable", "trade_holes", "open_trades")
    none = {name: audit[name] for name in faults}
    assert not any(none.values()), none


def test_a_recording_is_delivered_once_even_if_it_runs_twice(
    command: Start, server: EmbeddedPulseStream, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    path = recording(trades=150)
    last, first, second = last_frame(path), tmp_path / "first.journal", tmp_path / "second.journal"
    with played(path, speed=10) as simulator:
        for journal, times in ((first, 1), (first, 2), (second, 1)):
            run = command(*arguments(simulator, server.url, journal), PULSESTREAM_API_KEY=KEY)
            wait_for(lambda journal=journal, times=times: is_delivered(journal, last, times=times))
            assert ended(run) == 0, run.stderr
            assert KEY not in run.stderr + run.stdout
            assert_exact(verify(command, server.url, journal), 300)


def test_when_nothing_comes_any_more_it_ends_and_all_that_came_is_delivered(
    command: Start, server: EmbeddedPulseStream, recording: Callable[..., Path], tmp_path: Path
) -> None:
    journal = tmp_path / "idle.journal"
    with played(recording(trades=150), speed=10) as simulator:
        run = command(*arguments(simulator, server.url, journal, "--exit-when-idle", 1), PULSESTREAM_API_KEY=KEY)
        assert run.wait() == 0, run.stderr
    assert "[IDLE] No frame for 1 s and everything delivered" in run.stderr
    # On a machine that stands still for a second, that is not all there was.
    audit = verify(command, server.url, journal)
    assert_exact(audit, audit["received"] - audit["gaps"])


def test_kill_9_five_times_changes_nothing(
    command: Start, server: EmbeddedPulseStream, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    journal, path = tmp_path / "killed.journal", recording(trades=200, seconds=2.0)
    with played(path, speed=1) as simulator:
        for kill in range(5):
            before = simulator.statistics.frames.get("ticker", 0)
            run = command(*arguments(simulator, server.url, journal), PULSESTREAM_API_KEY=KEY)
            wanted = before + 5 + 40 * kill  # a little further into the recording each time
            wait_for(lambda wanted=wanted: simulator.statistics.frames.get("ticker", 0) >= wanted)
            run.send(signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL
        run = command(*arguments(simulator, server.url, journal), PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: is_delivered(journal, last_frame(path)))
        assert ended(run) == 0, run.stderr

    assert_exact(verify(command, server.url, journal), 400)


def test_an_outage_of_pulsestream_costs_nothing(
    command: Start, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    journal, database, port = tmp_path / "outage.journal", str(tmp_path / "stored.sqlite"), free_port()
    options: dict[str, Any] = {"database": database, "api_key": KEY, "rate_limit": 0, "port": port}
    path = recording(trades=200, seconds=2.0)
    with played(path, speed=1) as simulator:
        with EmbeddedPulseStream(**options) as server:
            run = command(*arguments(simulator, server.url, journal, "--verbose"), PULSESTREAM_API_KEY=KEY)
            wait_for(lambda: "[SUCCESS]" in run.stderr)
        wait_for(lambda: run.stderr.count("[TICKER]") >= 150 or "cannot be reached" in run.stderr)
        with EmbeddedPulseStream(**options) as server:
            wait_for(lambda: is_delivered(journal, last_frame(path)), 60)
            assert ended(run) == 0, run.stderr
            assert_exact(verify(command, server.url, journal), 400)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_drains_and_ends_with_0(
    command: Start, server: EmbeddedPulseStream, tmp_path: Path, wait_for: Start, number: signal.Signals
) -> None:
    journal = tmp_path / "drained.journal"
    with Simulator(rate=200) as simulator:
        # A window longer than the test: only a drain that flushes the open batch at once gets its events out.
        run = command(
            *arguments(simulator, server.url, journal, "--verbose"),
            PULSESTREAM_API_KEY=KEY,
            RXBRIDGE_BATCH_SECONDS="600",
            RXBRIDGE_BATCH_COUNT="1000",
        )
        wait_for(lambda: run.stderr.count("[TICKER]") >= 50)
        run.send(number)
        assert run.wait() == 0, run.stderr

    audit = verify(command, server.url, journal)
    assert_exact(audit, audit["received"] - audit["gaps"])
    assert audit["received"] >= 50


def test_a_drain_against_a_dead_server_keeps_everything_for_the_next_start(
    command: Start, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    journal, port = tmp_path / "kept.journal", free_port()
    url, path = f"http://127.0.0.1:{port}", recording(trades=50)
    with played(path, speed=10) as simulator:
        run = command(*arguments(simulator, url, journal, "--verbose"), PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: run.stderr.count("[TICKER]") >= 50)
        assert ended(run) == 0, run.stderr
        assert "wait in the journal" in run.stderr

        with EmbeddedPulseStream(
            database=str(tmp_path / "stored.sqlite"), api_key=KEY, rate_limit=0, port=port
        ) as server:
            waiting = verify(command, server.url, journal)
            assert (waiting["waiting"], waiting["delivered"], waiting["stored"]) == (100, 0, 0)
            run = command(*arguments(simulator, url, journal), PULSESTREAM_API_KEY=KEY)
            wait_for(lambda: is_delivered(journal, last_frame(path), times=2))
            assert ended(run) == 0, run.stderr
            assert_exact(verify(command, server.url, journal), 100)


def test_a_signal_while_the_disk_takes_nothing(
    command: Start, server: EmbeddedPulseStream, tmp_path: Path, wait_for: Start
) -> None:
    journal = tmp_path / "full.journal"
    with Simulator(rate=100) as simulator:
        run = command(
            *arguments(simulator, server.url, journal), PULSESTREAM_API_KEY=KEY, RXBRIDGE_RUN_SHUTDOWN_SECONDS="2"
        )
        wait_for(lambda: simulator.statistics.frames.get("ticker", 0) >= 50)
        _, most = resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE)
        # The log goes into a file as well, which stays smaller.
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (50_000, most))
        wait_for(lambda: "frames wait in memory" in run.stderr)
        # Some that surely do; what failed may have been a note.
        arrived = simulator.statistics.frames["ticker"]
        wait_for(lambda: simulator.statistics.frames["ticker"] >= arrived + 30)
        assert ended(run) == 0, run.stderr
        simulator.pause()
        assert "[LOST]" in run.stderr

        again = command(*arguments(simulator, server.url, journal), PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: "trades fetched" in again.stderr)
        wait_for(lambda: has_all_trades(tmp_path / "stored.sqlite", simulator))
        assert ended(again) == 0, again.stderr
    audit = verify(command, server.url, journal)
    assert audit["trade_holes"] == 0
    assert audit["received"] == audit["stored"]


def test_a_signal_during_the_start_ends_with_0(command: Start, tmp_path: Path, wait_for: Start) -> None:
    with (
        Simulator() as simulator,
        EmbeddedPulseStream(database=":memory:", api_key=KEY, latency_seconds=2) as slow,
    ):
        run = command(*arguments(simulator, slow.url, tmp_path / "early.journal"), PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: "[SINK]" in run.stderr)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr
    assert "SIGTERM: stopping" in run.stderr


def test_a_signal_before_anything_is_there_ends_with_0(
    command: Start, server: EmbeddedPulseStream, tmp_path: Path
) -> None:
    with Simulator() as simulator:
        run = command(*arguments(simulator, server.url, tmp_path / "early.journal"), PULSESTREAM_API_KEY=KEY)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr
    assert "SIGTERM: stopping" in run.stderr


def test_a_dry_run_that_nobody_reads_ends(tmp_path: Path) -> None:
    with Simulator(rate=50) as simulator:
        given = arguments(simulator, "http://127.0.0.1:9", tmp_path / "j")
        run = subprocess.Popen(
            [sys.executable, "-m", "rxbridge", *map(str, given), "--dry-run"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert run.stdout is not None
        assert run.stdout.readline().startswith(b'{"events":[')
        run.stdout.close()
        run.wait(60)
        assert run.stderr is not None
        told = run.stderr.read()
        run.stderr.close()
    assert b"Nobody reads the dry run any more" in told
    assert b"Traceback" not in told


def test_a_second_signal_ends_at_once_and_loses_nothing(command: Start, tmp_path: Path, wait_for: Start) -> None:
    journal, port = tmp_path / "twice.journal", free_port()
    url = f"http://127.0.0.1:{port}"
    server = command("pulsestream", "--port", port, "--rate-limit", 0, "--database", "s", PULSESTREAM_API_KEY=KEY)
    wait_for(lambda: url in server.stderr)
    with Simulator(rate=100) as simulator:
        run = command(
            *arguments(simulator, url, journal, "--verbose"),
            PULSESTREAM_API_KEY=KEY,
            RXBRIDGE_RUN_SHUTDOWN_SECONDS="600",
        )
        wait_for(lambda: "[SUCCESS]" in run.stderr)
        server.send(signal.SIGSTOP)  # a request hangs from now on
        received = run.stderr.count("[TICKER]")
        wait_for(lambda: run.stderr.count("[TICKER]") >= received + 50)
        run.send(signal.SIGTERM)
        wait_for(lambda: "SIGTERM: stopping" in run.stderr)
        run.send(signal.SIGTERM)
        assert run.wait() == 130
        server.send(signal.SIGCONT)
        simulator.pause()

        run = command(*arguments(simulator, url, journal), PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: has_all_trades(tmp_path / "s", simulator))
        assert ended(run) == 0, run.stderr
    audit = verify(command, url, journal)
    assert_exact(audit, audit["received"] - audit["gaps"])
    assert audit["received"] >= received + 50


def test_feeding_and_delivering_in_two_processes(
    command: Start, server: EmbeddedPulseStream, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    journal, path = tmp_path / "shared.journal", recording(trades=150)
    with played(path, speed=1) as simulator:
        feeder = command(*arguments(simulator, server.url, journal, "--role", "feed"))
        deliverer = command(*arguments(simulator, server.url, journal, "--role", "deliver"), PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: is_delivered(journal, last_frame(path)))
        assert ended(feeder) == 0, feeder.stderr
        assert ended(deliverer) == 0, deliverer.stderr

    assert_exact(verify(command, server.url, journal), 300)


def test_a_dry_run_prints_batches_and_sends_nothing(
    command: Start, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    journal = tmp_path / "dry.journal"
    with played(recording(trades=30), speed=10) as simulator:
        run = command(*arguments(simulator, "http://127.0.0.1:9", journal, "--dry-run"))
        wait_for(lambda: run.stdout.count('"event_id"') >= 60)
        assert ended(run) == 0, run.stderr

    ids = [event["event_id"] for line in run.stdout.splitlines() for event in json.loads(line)["events"]]
    assert len(ids) == len(set(ids)) == 60
    assert "coinbase-BTC-USD-1000" in ids
    assert "coinbase-ETH-USD-match-1014" in ids
    assert not journal.exists()


def test_a_refused_key_ends_the_start_with_77(command: Start, server: EmbeddedPulseStream, tmp_path: Path) -> None:
    with Simulator() as simulator:
        run = command(*arguments(simulator, server.url, tmp_path / "j"), PULSESTREAM_API_KEY="another-key")
        assert run.wait() == 77
    assert "refused the API key" in run.stderr
    assert "another-key" not in run.stderr


def test_a_wrong_configuration_ends_the_start_with_78(command: Start) -> None:
    assert command("run", "--channels", "tickr", PULSESTREAM_API_KEY=KEY).wait() == 78
    assert command("run").wait() == 78  # there is no default key
    assert command("verify", "--journal", "absent", PULSESTREAM_API_KEY=KEY).wait() == 78


def test_products_that_do_not_exist_end_the_start_with_78(
    command: Start, server: EmbeddedPulseStream, tmp_path: Path
) -> None:
    with Simulator() as simulator:
        run = command(
            *arguments(simulator, server.url, tmp_path / "j", "--products", "NO-SUCH"), PULSESTREAM_API_KEY=KEY
        )
        assert run.wait() == 78, run.stderr
    assert "NO-SUCH" in run.stderr


def test_wrong_usage_ends_with_2(command: Start) -> None:
    assert command("run", "--no-such-option").wait() == 2


def test_verify_without_a_server_ends_with_69(
    command: Start, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    journal, path = tmp_path / "unverified.journal", recording(trades=5)
    with played(path, speed=10) as simulator:
        feeder = command(*arguments(simulator, "http://127.0.0.1:9", journal, "--role", "feed"))
        wait_for(lambda: times_arrived(journal, last_frame(path)))
        assert ended(feeder) == 0, feeder.stderr

    check = command(
        "verify", "--journal", journal, "--pulsestream-url", f"http://127.0.0.1:{free_port()}", PULSESTREAM_API_KEY=KEY
    )
    assert check.wait() == 69, check.stderr
    assert "cannot be reached" in check.stderr


def test_a_second_feeder_is_refused(command: Start, tmp_path: Path, wait_for: Start) -> None:
    journal = tmp_path / "busy.journal"
    with Simulator() as simulator:
        first = command(*arguments(simulator, "http://127.0.0.1:9", journal, "--role", "feed"))
        wait_for(lambda: "[OK] Subscription confirmed" in first.stderr)
        second = command(*arguments(simulator, "http://127.0.0.1:9", journal, "--role", "feed"))
        assert second.wait() == 69
        assert f"process {first.process.pid}" in second.stderr or str(first.process.pid) in second.stderr
        first.send(signal.SIGTERM)
        assert first.wait() == 0


def test_an_audit_notices_what_the_server_has_lost(
    command: Start, server: EmbeddedPulseStream, recording: Callable[..., Path], tmp_path: Path, wait_for: Start
) -> None:
    journal, path = tmp_path / "lost.journal", recording(trades=20)
    with played(path, speed=10) as simulator:
        run = command(*arguments(simulator, server.url, journal), PULSESTREAM_API_KEY=KEY)
        wait_for(lambda: is_delivered(journal, last_frame(path)))
        assert ended(run) == 0, run.stderr

    with EmbeddedPulseStream(database=str(tmp_path / "empty.sqlite"), api_key=KEY, rate_limit=0) as empty:
        audit = verify(command, empty.url, journal, expected_code=1)
    assert (audit["stored"], audit["missing"], len(audit["missing_ids"])) == (0, 40, 40)


def test_real_frames_of_2021_are_stored_once_each(
    command: Start,
    server: EmbeddedPulseStream,
    tmp_path: Path,
    real_recording: Callable[[str], Path],
    wait_for: Start,
) -> None:
    products = "BAND-BTC,BAND-GBP,CRV-EUR,DASH-BTC,NMR-EUR,NU-GBP,SKL-BTC,SKL-GBP,SKL-USD,YFI-BTC"
    journal, path = tmp_path / "real.journal", real_recording("exchange-2021")
    last = last_frame(path, "ticker", "match", "last_match")
    with played(path, speed=10) as simulator:
        for times in (1, 2):
            run = command(*arguments(simulator, server.url, journal, "--products", products), PULSESTREAM_API_KEY=KEY)
            wait_for(lambda times=times: is_delivered(journal, last, times=times), 60)
            assert ended(run) == 0, run.stderr
    assert_exact(verify(command, server.url, journal), 90)
