"""Channels that change between two runs: what a frame was received for is delivered, and judged, by those of then."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rxbridge.channel_history import NOTE, FollowedChannels, channels_as_received, record_channels
from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator

KEY = "a-key-of-a-tenant"
SETTINGS = {"PULSESTREAM_API_KEY": KEY, "RXBRIDGE_EVENTS_BOOK_SECONDS": "0.1"}
NOBODY = "http://127.0.0.1:9"
BTC_AND_ETH = ("BTC-USD", "ETH-USD")


def append(journal: MemoryJournal, count: int) -> None:
    for _ in range(count):
        journal.append(Frame(b"{}", 1, 1, journal.size().last_offset))


def test_where_nothing_is_noted_those_of_today_stand_for_all() -> None:
    with MemoryJournal() as journal:
        asked = channels_as_received(journal, ["ticker"])

        assert (asked.at(5), asked.at(0)) == (("ticker",), ("ticker",))
        assert asked.has_asked("ticker")
        assert not asked.has_asked("level2")


def test_each_frame_has_the_channels_that_it_came_for() -> None:
    with MemoryJournal() as journal:
        for channels in (["ticker", "matches"], ["matches", "ticker"], ["ticker"], ["ticker", "level2"]):
            record_channels(journal, channels)
            append(journal, 10)
        asked = channels_as_received(journal, [])

        assert [asked.at(offset) for offset in (1, 20)] == [("matches", "ticker")] * 2
        assert [asked.at(offset) for offset in (21, 30)] == [("ticker",)] * 2
        assert [asked.at(offset) for offset in (31, 10**9, 0)] == [("level2", "ticker")] * 3
        assert [asked.has_asked("matches", after=after) for after in (0, 19, 20)] == [True, True, False]
        assert [asked.has_asked("level2", after=after) for after in (0, 10**9)] == [True, True]


def test_who_follows_learns_of_a_change_before_its_first_frame() -> None:
    with MemoryJournal() as journal:
        asked = FollowedChannels(journal, ["ticker"])
        record_channels(journal, ["ticker"])
        append(journal, 3)
        assert asked.at(3) == ("ticker",)
        record_channels(journal, ["level2"])
        append(journal, 1)

        assert (asked.at(4), asked.at(3)) == (("level2",), ("ticker",))
        assert asked.has_asked("level2")


@pytest.mark.parametrize("note", [b"{", b"[]", b'[{"after":"one"}]', b"\xff"])
def test_a_damaged_note_says_nothing(note: bytes) -> None:
    with MemoryJournal() as journal:
        journal.remember(NOTE, note)

        assert channels_as_received(journal, ["ticker"]).at(5) == ("ticker",)
        record_channels(journal, ["level2"])
        assert channels_as_received(journal, ["ticker"]).at(5) == ("level2",)


class Stage:
    """A bridge over one journal, and a PulseStream of which it may be told."""

    def __init__(self, command: Callable[..., Any], folder: Path, simulator: Simulator) -> None:
        self.database = folder / "stored.sqlite"
        self._command = command
        self._journal = ["--journal", folder / "journal"]
        self._feed = ["--feed-url", simulator.url, "--products", ",".join(BTC_AND_ETH)]

    def run(self, url: str, *more: object) -> Any:
        return self._command("run", *self._journal, *self._feed, "--pulsestream-url", url, *more, **SETTINGS)

    def audit(self, url: str, channels: str) -> dict[str, Any]:
        asked = ["--pulsestream-url", url, "--channels", channels]
        done = self._command("verify", "--json", *self._journal, *asked, **SETTINGS)
        assert done.wait() == 0, done.stdout
        return json.loads(done.stdout)

    def stored(self, kind: str) -> int:
        query = "SELECT count(*) FROM events WHERE external_id LIKE ?"
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query, [f"%-{kind}-%"]).fetchone()[0]


def end(*processes: Any) -> None:
    for process in processes:
        process.send(signal.SIGTERM)
        assert process.wait() == 0, process.stderr


def test_what_waits_when_a_channel_is_taken_away_is_delivered_and_audited(
    command: Callable[..., Any], wait_for: Callable[..., None], tmp_path: Path
) -> None:
    with Simulator(products=BTC_AND_ETH, rate=60, book_changes_per_second=40) as simulator:
        stage = Stage(command, tmp_path, simulator)

        def await_frames(kind: str, count: int) -> None:
            least = simulator.statistics.frames.get(kind, 0) + count
            wait_for(lambda: simulator.statistics.frames.get(kind, 0) >= least)

        with EmbeddedPulseStream(database=str(stage.database), api_key=KEY, rate_limit=0) as server:
            # The delivery reaches nobody, so that all of it waits.
            run = stage.run(NOBODY, "--channels", "ticker,trades,level2")
            await_frames("match", 100)
            end(run)
            run = stage.run(server.url, "--channels", "ticker")
            await_frames("ticker", 50)
            wait_for(lambda: stage.stored("match") >= 100)
            end(run)
            images = stage.stored("book")
            assert images > 0
            # By two processes, of which the one that delivers is told nothing.
            feeding = stage.run(server.url, "--role", "feed", "--channels", "trades,level2")
            delivering = stage.run(server.url, "--role", "deliver", "--channels", "status")
            wait_for(lambda: stage.stored("book") > images)
            end(feeding, delivering)

            audits = [stage.audit(server.url, channels) for channels in ("status", "ticker,trades,level2")]
    assert audits[0] == audits[1]
    counts = ("missing", "duplicates", "waiting", "dead", "dropped", "trade_holes")
    assert [audits[0][count] for count in counts] == [0] * len(counts)
    assert audits[0]["received"] == audits[0]["delivered"] == audits[0]["stored"]
