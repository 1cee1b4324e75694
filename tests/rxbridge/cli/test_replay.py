"""`rxbridge replay`: a recording, or a journal, becomes the events that the live run made of it, each once."""

import json
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from operators import ReplayClock
from rxbridge.journal import SqliteJournal
from rxbridge.journal.playback import journal_frames
from rxbridge.messages import Frame
from rxbridge.playing import Selection
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.recording import RecordingWriter
from rxbridge.recording.playing import recorded_frames
from rxbridge.simulator import Simulator
from tests.ports import free_port

KEY = "key-of-the-replays"
CANDLES = Path(__file__).parents[1] / "custom_pipelines" / "candle_pipeline.py"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "stored.sqlite"


@pytest.fixture
def pulsestream(database: Path) -> Iterator[EmbeddedPulseStream]:
    with EmbeddedPulseStream(database=str(database), api_key=KEY, rate_limit=0) as server:
        yield server


def stored(database: Path) -> list[str]:
    """The ids of all events, those that are there twice twice."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return sorted(key for (key,) in connection.execute("SELECT external_id FROM events"))


@pytest.fixture
def replay(command: Callable[..., Any], pulsestream: EmbeddedPulseStream) -> Callable[..., Any]:
    """Starts a replay into `pulsestream`."""

    def start(*arguments: object) -> Any:
        # The last of two addresses counts.
        return command("replay", "--pulsestream-url", pulsestream.url, *arguments, PULSESTREAM_API_KEY=KEY)

    return start


def test_a_recording_is_delivered_once_however_often_it_is_replayed(
    replay: Callable[..., Any], recording: Callable[..., Path], database: Path, tmp_path: Path
) -> None:
    path = recording(trades=500)
    assert replay(path).wait() == 0
    assert replay(path.relative_to(tmp_path)).wait() == 0  # the same one, by another name
    ids = stored(database)
    assert len(ids) == len(set(ids)) == 1000

    # The journal of the first knows that all is done; without it, PulseStream knows each event by its id.
    for journal, delivered in (("recording.replay.journal", "0 delivered"), ("other.journal", "1,000 delivered")):
        again = replay(path, "--journal", journal)
        assert again.wait() == 0
        assert delivered in again.stderr
        assert stored(database) == ids
    assert (tmp_path / "other.journal").exists()


def test_the_audit_proves_a_replay(
    command: Callable[..., Any],
    replay: Callable[..., Any],
    recording: Callable[..., Path],
    pulsestream: EmbeddedPulseStream,
    database: Path,
) -> None:
    # Slowly: its journal, which removes what is old, has the time to look at frames of years ago.
    assert replay(recording(trades=100, seconds=3.0), "--speed", "1").wait() == 0
    assert len(stored(database)) == 200
    audit = command(
        *("verify", "--journal", "recording.replay.journal", "--pulsestream-url", pulsestream.url),
        PULSESTREAM_API_KEY=KEY,
    )
    assert audit.wait() == 0, audit.stdout
    assert "received=200 delivered=200 dead=0 dropped=0 waiting=0 stored=200 duplicates=0 missing=0" in audit.stdout


def test_a_replay_that_was_killed_goes_on(
    replay: Callable[..., Any],
    recording: Callable[..., Path],
    database: Path,
    wait_for: Callable[..., None],
) -> None:
    # Long enough that it is in the middle of it, however late it is killed.
    path = recording(trades=300, seconds=200.0)
    first = replay(path, "--speed", "10")
    wait_for(lambda: len(stored(database)) > 50)
    first.send(signal.SIGKILL)
    first.wait()
    assert len(stored(database)) < 600
    second = replay(path)
    assert second.wait() == 0
    assert "Going on after the" in second.stderr
    ids = stored(database)
    assert len(ids) == len(set(ids)) == 600


def test_a_replay_waits_for_a_full_journal_and_is_stopped_all_the_same(
    command: Callable[..., Any], recording: Callable[..., Path], database: Path, wait_for: Callable[..., None]
) -> None:
    path, port = recording(trades=2000), free_port()
    small = {"RXBRIDGE_JOURNAL_MAX_BYTES": "200000", "RXBRIDGE_RUN_SHUTDOWN_SECONDS": "2"}
    arguments = ("replay", path, "--pulsestream-url", f"http://127.0.0.1:{port}")
    running = command(*arguments, PULSESTREAM_API_KEY=KEY, **small)
    wait_for(lambda: "is full" in running.stderr)
    running.send(signal.SIGTERM)
    assert running.wait() == 130
    assert "Traceback" not in running.stderr
    assert "wait in the journal for the next start" in running.stderr
    said = running.stderr.partition("[INTERRUPTED] Stopped before the end: ")[2]
    assert re.match(r"not all frames are read and [0-9,]+ frames wait in .*recording\.replay\.journal\. The next", said)
    with EmbeddedPulseStream(port=port, database=str(database), api_key=KEY, rate_limit=0):
        assert command(*arguments, PULSESTREAM_API_KEY=KEY).wait() == 0
    ids = stored(database)
    assert len(ids) == len(set(ids)) == 4000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_replay_that_is_stopped_before_its_end_says_so(
    replay: Callable[..., Any],
    recording: Callable[..., Path],
    database: Path,
    wait_for: Callable[..., None],
    number: signal.Signals,
) -> None:
    path = recording(trades=1000, seconds=1000.0)
    running = replay(path, "--speed", "1")
    wait_for(lambda: bool(stored(database)))
    running.send(number)
    assert running.wait() == 130
    assert "[INTERRUPTED] Stopped before the end: not all frames are read" in running.stderr
    assert replay(path).wait() == 0
    assert len(stored(database)) == 2000

    dry = replay(path, "--speed", "1", "--dry-run")
    wait_for(lambda: bool(dry.stdout))
    dry.send(number)
    assert dry.wait() == 130
    assert "Nothing is kept of a dry run" in dry.stderr


def test_a_stretch_and_a_product(command: Callable[..., Any], recording: Callable[..., Path]) -> None:
    path = recording(trades=200, seconds=100.0)
    times = ("--since", "2023-11-14T22:13:40Z", "--until", "2023-11-14T22:14:10+00:00")
    running = command("replay", path, "--dry-run", "--products", "ETH-USD", *times)
    assert running.wait() == 0
    events = [event for line in running.stdout.splitlines() for event in json.loads(line)["events"]]
    assert {event["payload"]["product_id"] for event in events} == {"ETH-USD"}
    assert len(events) == 60, "of two trades a second, each with its ticker, half, for 30 s"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a recording, or a journal"),
        (("recording.jsonl", "--from-journal", "x"), "name a recording, or a journal"),
        (("--from-journal", "absent.journal"), "there is no journal at"),
        (("recording.jsonl", "--since", "yesterday"), "is no time"),
        (("recording.jsonl", "--since", "2026-11-25"), "'2026-11-25' has no time zone. write it so: 2026-01-31T08:00:"),
        (("recording.jsonl", "--products", "BTC-USD", "--channels", "level2"), "need every frame"),
    ],
)
def test_arguments_that_make_no_sense(
    command: Callable[..., Any], recording: Callable[..., Path], arguments: tuple[str, ...], said: str
) -> None:
    recording(trades=1)
    running = command("replay", *arguments, "--dry-run")
    assert running.wait() == 78
    assert said in running.stderr


def test_products_that_never_occur_are_told(
    replay: Callable[..., Any], recording: Callable[..., Path], database: Path
) -> None:
    path = recording(trades=10)
    running = replay(path, "--products", "btc-usd,NOPE")
    assert running.wait() == 78
    assert "--products: no frame is of NOPE, btc-usd; there are frames of BTC-USD, ETH-USD" in running.stderr
    assert not list(path.parent.glob("*.journal*"))

    running = replay(path, "--products", "ETH-USD,BTCUSD")
    assert running.wait() == 0
    assert "no frame is of BTCUSD; there are frames of BTC-USD" in running.stderr
    assert len(stored(database)) == 10

    running = replay(path, "--products", "ETH-USD", "--since", "2025-01-01T00:00:00Z", "--dry-run")
    assert running.wait() == 78
    assert "--products: no frame is of ETH-USD, nor of any other product" in running.stderr


def test_a_recording_that_is_not_there_ends_it_before_anything_is_made(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    running = command("replay", tmp_path / "day.jsonl", PULSESTREAM_API_KEY=KEY)
    assert running.wait() == 69
    assert "there is neither this file nor day-0001.jsonl" in running.stderr
    assert list(tmp_path.glob("day*")) == []


@pytest.mark.parametrize("name", ["day-0002.jsonl", "linked.jsonl", "live.journal"])
def test_what_is_to_be_replayed_is_no_journal_for_it(
    replay: Callable[..., Any], recording: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    recording(trades=1).rename(tmp_path / "day-0001.jsonl")
    recording(trades=1).rename(tmp_path / "day-0002.jsonl")
    (tmp_path / "linked.jsonl").hardlink_to(tmp_path / "day-0001.jsonl")
    with SqliteJournal(tmp_path / "live.journal") as journal:
        journal.append(Frame(b"{}", 1, 1, 0))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".jsonl", ".journal")}
    source = ("--from-journal", name) if name == "live.journal" else ("day.jsonl",)
    running = replay(*source, "--journal", name)
    assert running.wait() == 78
    assert f"journal.path: {name} is itself what is to be replayed. name another --journal" in running.stderr
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_mistyped_journal_costs_nobody_a_file(
    command: Callable[..., Any], replay: Callable[..., Any], recording: Callable[..., Path], tmp_path: Path
) -> None:
    path = recording(trades=1)
    mine = tmp_path / "mine.txt"
    mine.write_text("what I have written")
    before = {found.name for found in tmp_path.iterdir()} | {"0.stdout", "0.stderr", "1.stdout", "1.stderr"}
    address = ("--feed-url", "ws://127.0.0.1:9", "--pulsestream-url", f"http://127.0.0.1:{free_port()}")
    for start in (
        lambda: replay(path, "--journal", mine),
        lambda: command("run", "--journal", mine, *address, PULSESTREAM_API_KEY=KEY),
    ):
        running = start()
        assert running.wait() == 69, running.stderr
        assert "mine.txt: is there already and is no journal; it is left as it is" in running.stderr
        assert mine.read_text() == "what I have written"
    left = {found.name for found in tmp_path.iterdir() if not found.name.startswith("stored.sqlite")}
    assert left == before - {name for name in before if name.startswith("stored.sqlite")}


def test_a_journal_of_something_else_is_left_alone(
    replay: Callable[..., Any], recording: Callable[..., Path], database: Path, tmp_path: Path
) -> None:
    path = recording(trades=1)
    with SqliteJournal(tmp_path / "live.journal") as journal:
        for frame in recorded_frames(path, Selection()):
            journal.append(frame)
    running = replay(path, "--journal", "live.journal")
    assert running.wait() == 78
    assert "not of this replay: nothing says of which replay they are" in running.stderr
    assert not stored(database)
    with SqliteJournal(tmp_path / "live.journal", role="read") as journal:
        assert journal.cursor("pulsestream") == 0
        assert journal.recall("replay") is None


def test_a_journal_is_of_one_replay_with_what_decides_its_events_and_where_they_go(
    replay: Callable[..., Any], recording: Callable[..., Path], database: Path
) -> None:
    path = recording(trades=10)
    candles = f"{CANDLES}:pipeline"
    assert replay(path, "--channels", "ticker").wait() == 0
    ids = stored(database)
    assert len(ids) == 10

    nowhere = f"http://127.0.0.1:{free_port()}"
    ticker = ("--channels", "ticker")
    others: dict[str, tuple[str, ...]] = {
        "feed.channels was ticker, and is now matches, ticker": ("--channels", "trades,ticker"),
        f"run.pipeline was builtin, and is now {CANDLES.stem}:pipeline": ("--pipeline", candles),
        f"and is now {nowhere}": (*ticker, "--pulsestream-url", nowhere),
        "events.environment was production, and is now staging": (*ticker, "--config", "staging.toml"),
        "of another stretch of time, or of other products": (*ticker, "--products", "BTC-USD"),
    }
    path.with_name("staging.toml").write_text('[events]\nenvironment = "staging"\n')
    for said, arguments in others.items():
        running = replay(path, *arguments)
        assert running.wait() == 78, running.stderr
        assert said in running.stderr
        assert "name another --journal, or remove " in running.stderr
        assert "recording.replay.journal*" in running.stderr
    assert stored(database) == ids

    # A note of before the settings were noted says nothing against them.
    with SqliteJournal(path.with_name("recording.replay.journal"), role="maintain") as journal:
        note = json.loads(journal.recall("replay") or b"")
        del note["settings"]
        journal.remember("replay", json.dumps(note).encode())

    # What is the same, or has no say, is no other replay; and a dry run has a journal of its own.
    assert replay(path, "--channels", "ticker", "--feed", "advanced", "--speed", "10").wait() == 0
    dry = replay(path, "--channels", "trades,ticker", "--dry-run")
    assert dry.wait() == 0
    assert sum(len(json.loads(line)["events"]) for line in dry.stdout.splitlines()) == 20

    for part in path.parent.glob("recording.replay.journal*"):
        part.unlink()
    assert replay(path, "--channels", "trades,ticker").wait() == 0
    assert len(stored(database)) == 20


def test_what_a_live_bridge_has_received_is_replayed_under_the_same_ids(
    command: Callable[..., Any],
    replay: Callable[..., Any],
    pulsestream: EmbeddedPulseStream,
    wait_for: Callable[..., None],
    tmp_path: Path,
) -> None:
    database = tmp_path / "stored.sqlite"
    with Simulator(products=("BTC-USD",), rate=100, feed="advanced") as simulator:
        live = command(
            *("run", "--feed", "advanced", "--feed-url", simulator.url, "--products", "BTC-USD"),
            *("--journal", "live.journal", "--pulsestream-url", pulsestream.url),
            PULSESTREAM_API_KEY=KEY,
        )
        wait_for(lambda: len(stored(database)) > 100)
        # Beside the bridge at work, into another PulseStream.
        with EmbeddedPulseStream(database=str(tmp_path / "other.sqlite"), api_key=KEY, rate_limit=0) as other:
            beside = command(
                *("replay", "--from-journal", "live.journal", "--pulsestream-url", other.url),
                PULSESTREAM_API_KEY=KEY,
            )
            assert beside.wait() == 0, beside.stderr
            copied = stored(tmp_path / "other.sqlite")
        live.send(signal.SIGTERM)
        assert live.wait() == 0
    ids = stored(database)
    assert len(copied) > 100
    assert set(copied) <= set(ids)

    # And a recording that is made of the journal keeps what the ids depend on.
    path, clock = tmp_path / "copy.jsonl.zst", ReplayClock()
    with RecordingWriter(path) as writer:
        journal_frames(tmp_path / "live.journal", scheduler=clock).subscribe(writer.append)
        clock.start()
    assert replay(path, "--feed", "advanced").wait() == 0
    assert stored(database) == ids
