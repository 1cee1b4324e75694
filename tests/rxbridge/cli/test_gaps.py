"""`rxbridge gaps`, as a user meets it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxbridge.journal import MarketGap, SqliteJournal
from rxbridge.progress import CONSUMER
from rxbridge.pulsestream_server import EmbeddedPulseStream
from tests.rxbridge.confirmation.support import HEARTBEAT, append

Start = Callable[..., Any]
AT = 1_700_000_000 * 10**9


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(tmp_path / "gaps.journal") as journal:
        journal.record_market_gaps(
            [
                MarketGap("trades", ("BTC-USD",), "matches", 5, 9, "older than max_age\x1b[2J", AT),
                MarketGap("quotes", ("BTC-USD", "ETH-USD"), "ticker", AT, AT + 2_500_000_000, "disconnected", AT),
            ]
        )
        yield journal


@pytest.fixture
def gaps(command: Start, tmp_path: Path) -> Callable[..., Any]:
    def run(*arguments: object, code: int = 0, **environment: str) -> Any:
        started = command("gaps", *arguments, "--journal", tmp_path / "gaps.journal", **environment)
        assert started.wait() == code, started.stderr
        return started

    return run


def damage(path: Path) -> int:
    """Spoil a page of a closed journal in the middle of its frames; how large the file is."""
    content = bytearray(path.read_bytes())
    begin = len(content) * 2 // 3 // 4096 * 4096
    content[begin : begin + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    return len(content)


@pytest.mark.usefixtures("journal")
def test_gaps_of_the_market_are_listed(gaps: Start) -> None:
    header, trades, quotes = [line.split("\t") for line in gaps().stdout.splitlines()]

    assert header == ["recorded", "kind", "of", "from", "to", "length", "why"]
    assert trades == [
        *("2023-11-14T22:13:20Z", "trades", "BTC-USD matches", "5", "9", "5 trades"),
        "older than max_age\\x1b[2J",
    ]
    assert quotes == [
        *("2023-11-14T22:13:20Z", "quotes", "BTC-USD, ETH-USD ticker"),
        *("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:22.500Z", "2.5 seconds", "disconnected"),
    ]


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ((), ["trades", "quotes"]),
        (("--kind", "quotes"), ["quotes"]),
        (("--kind", "quotes", "--kind", "trades"), ["trades", "quotes"]),
        (("--product", "ETH-USD"), ["quotes"]),
        (("--product", "ETH-USD", "--kind", "trades"), []),
        (("--kind", "corrupt"), []),
    ],
)
def test_filters_choose(gaps: Start, options: tuple[str, ...], kinds: list[str]) -> None:
    found = [json.loads(line) for line in gaps("--json", *options).stdout.splitlines()]
    assert [gap["kind"] for gap in found] == kinds
    if not kinds:
        assert gaps(*options).stdout == "no gap is on record that fits\n"


def test_without_gaps_it_says_so(command: Start, tmp_path: Path) -> None:
    SqliteJournal(tmp_path / "gaps.journal").close()
    for arguments, said in (
        ((), "no gap is on record\n"),
        (("acknowledge", "--yes"), "there is no gap that needs to be acknowledged\n"),
    ):
        started = command("gaps", *arguments, "--journal", "gaps.journal")
        assert started.wait() == 0, started.stderr
        assert started.stdout == said
    assert command("gaps", "--journal", "absent").wait() == 78


def test_a_wrong_kind_is_wrong_usage(gaps: Start) -> None:
    gaps("--kind", "unheard-of", code=2)


def test_what_a_journal_dropped_is_a_gap(gaps: Start, tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "gaps.journal", max_bytes=20_000, count_events=lambda _frame: 1) as journal:
        for _ in range(30):
            append(journal, [b'{"type":"' + b"x" * 3_000 + b'"}'])
    (line,) = gaps("--json", "--kind", "dropped").stdout.splitlines()
    gap = json.loads(line)
    assert (gap["unit"], gap["first"], gap["products"]) == ("frames", 1, [])
    assert gap["length"] == gap["events"] == gap["last"]
    assert "the journal\t1\t" in gaps().stdout


def test_damage_fails_the_audit_until_it_is_acknowledged(
    gaps: Start, command: Start, tmp_path: Path, pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> None:
    path = tmp_path / "gaps.journal"
    with SqliteJournal(path) as journal:
        for _ in range(60):
            append(journal, [HEARTBEAT[:-1] + b',"filling":"' + b"x" * 3_000 + b'"}'])
        journal.acknowledge(CONSUMER, 60)
    damage(path)
    reach = {"PULSESTREAM_API_URL": pulsestream.url, "PULSESTREAM_API_KEY": pulsestream_key}

    failed = command("verify", "--json", "--journal", path, **reach)
    assert failed.wait() == 1, failed.stderr
    lost = json.loads(failed.stdout)["unreadable"]
    assert lost > 0

    asked = gaps("acknowledge", code=1)
    assert "lost for good. Take note of that?" in asked.stderr
    assert command("verify", "--journal", path, **reach).wait() == 1

    assert "acknowledged 1 gaps" in gaps("acknowledge", "--yes").stdout
    verified = command("verify", "--journal", path, **reach)
    assert verified.wait() == 0, verified.stderr
    assert f"acknowledged gaps: the journal's file has lost {lost} frames" in verified.stderr
    assert gaps("acknowledge", "--yes").stdout == "there is no gap that needs to be acknowledged\n"

    # A bridge that reads over it records it; it stays acknowledged.
    with SqliteJournal(path) as journal:
        after = 0
        while frames := journal.read(after):
            after = frames[-1].offset
    (line,) = gaps("--json").stdout.splitlines()
    assert json.loads(line)["acknowledged"] is True
