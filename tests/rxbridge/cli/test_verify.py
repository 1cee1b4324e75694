"""`rxbridge verify`, as a user meets it: what it says besides its line, and what it repairs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rxbridge.backfill.state import State, encode
from rxbridge.journal import MarketGap, SqliteJournal
from rxbridge.progress import CONSUMER
from rxbridge.pulsestream_server import EmbeddedPulseStream
from tests.rxbridge.confirmation.support import append, deliver, event_id, match

Start = Callable[..., Any]


@pytest.fixture
def verify(
    command: Start, tmp_path: Path, pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> Callable[..., Any]:
    def run(*arguments: object, code: int = 0, **environment: str) -> Any:
        reach = {"PULSESTREAM_API_URL": pulsestream.url, "PULSESTREAM_API_KEY": pulsestream_key}
        quick = {"RXBRIDGE_DELIVERY_CONFIRM_AFTER_SECONDS": "0.01"}
        started = command("verify", "--journal", tmp_path / "journal", *arguments, **reach, **quick, **environment)
        assert started.wait() == code, started.stderr
        return started

    return run


def test_what_is_missing_is_named_and_repaired_beside_an_open_journal(
    verify: Start, tmp_path: Path, pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> None:
    with SqliteJournal(tmp_path / "journal") as journal:
        append(journal, map(match, range(1, 4)))
        deliver(journal, pulsestream, pulsestream_key)
        append(journal, map(match, range(4, 6)))
        journal.acknowledge(CONSUMER, 5)

        failed = verify(code=1)
        assert f"missing: {event_id(4)}\nmissing: {event_id(5)}\n" in failed.stderr
        assert failed.stdout.startswith("audit FAILED: received=5 delivered=5")

        repaired = verify("--repair")
        assert "2 events were missing; they were sent again, and are stored now" in repaired.stderr
        assert "stored=5 duplicates=0 missing=0" in repaired.stdout
        assert json.loads(verify("--json").stdout)["repaired"] == 0


def test_holes_and_gaps_are_told_of(
    verify: Start, tmp_path: Path, pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> None:
    with SqliteJournal(tmp_path / "journal") as journal:
        append(journal, [match(1), match(3), match(9)])
        deliver(journal, pulsestream, pulsestream_key)
        still_open = verify()
        assert "6 trades are still to be fetched by the backfill" in still_open.stderr

        journal.remember("backfill", encode(State(offset=3)))
        journal.record_market_gaps([MarketGap("trades", ("BTC-USD",), "matches", 4, 8, "too old", 1)])
        failed = verify(code=1)
        assert "trades missing, and on no record: BTC-USD 2 to 2" in failed.stderr
        assert "1 gaps of the market are on record: see rxbridge gaps" in failed.stderr
        assert failed.stdout.endswith("trade_holes=1 gaps=1\n")

        excused = verify(RXBRIDGE_BACKFILL_ENABLED="false")
        assert "that is no failure: backfill.enabled is false" in excused.stderr
