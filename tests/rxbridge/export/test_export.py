"""Parquet files: exact values in typed columns, each thing once and in order, in memory that does not grow."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.decoding import decode
from rxbridge.errors import ConfigError, ExportError, MissingExtra
from rxbridge.export import Exported, Kind, export, staging
from rxbridge.export.rows import RowMaker
from rxbridge.journal import SqliteJournal
from rxbridge.messages import Frame, Ticker, Trade
from rxbridge.recording.reader import read_frames

START = 1_700_000_000_123_456_789


def frame(content: dict[str, Any], index: int = 0) -> Frame:
    return Frame(json.dumps(content).encode(), START + index, START, index)


def match(trade_id: int | str, product: str = "BTC-USD", **fields: Any) -> dict[str, Any]:
    return {
        "type": "match",
        "trade_id": trade_id,
        "product_id": product,
        "price": "1.50",
        "size": "0.00000001",
        "side": "sell",
        "time": "2026-01-31T08:00:00.123456789Z",
        "sequence": 1007,
    } | fields


def exported(frames: Iterable[Frame], target: Path, kind: Kind = "trades", **options: Any) -> Exported:
    return export(frames, {kind: target}, **options)


def rows(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM read_parquet(?)", [str(path)]).fetchall()  # noqa: S608


def types(path: Path) -> dict[str, str]:
    with duckdb.connect() as connection:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    return {row[0]: row[1] for row in described}


def test_values_are_exact_and_typed(tmp_path: Path) -> None:
    path = tmp_path / "it's a day.parquet"
    result = exported([frame(match(7))], path)
    assert result == Exported({"trades": 1}, frames=1, malformed=0, invalid=0)
    columns = "product_id, trade_id, price, size, side, sequence, epoch_ns(time), epoch_ns(received_at), event_id, feed"
    event = "coinbase-BTC-USD-match-7"
    assert rows(path, columns) == [
        (
            "BTC-USD",
            7,
            Decimal("1.5"),
            Decimal("1E-8"),
            "sell",
            1007,
            1_769_846_400_123_456_789,
            START,
            event,
            "exchange",
        )
    ]
    kinds = types(path)
    assert {kinds["price"], kinds["size"]} == {"DECIMAL(38,18)"}
    assert {kinds["time"], kinds["received_at"]} == {"TIMESTAMP_NS"}
    assert (kinds["trade_id"], kinds["backfilled"]) == ("BIGINT", "BOOLEAN")


def test_trades_stand_in_the_order_of_their_ids_each_once(tmp_path: Path) -> None:
    ids = list(range(1, 3001))
    random.Random(5).shuffle(ids)
    frames = [frame(match(number, product), index) for index, number in enumerate(ids + ids[:500]) for product in "BA"]
    assert exported(frames, tmp_path / "t.parquet").rows == {"trades": 6000}
    assert rows(tmp_path / "t.parquet", "product_id, trade_id") == [(p, n) for p in "AB" for n in range(1, 3001)]


def test_the_last_revision_of_a_candle_counts(tmp_path: Path) -> None:
    def candle(index: int, start: int, close: str) -> Frame:
        one = {"start": str(start), "open": "1", "high": "9", "low": "1", "close": close, "volume": "2.5"}
        events = [{"type": "update", "candles": [one | {"product_id": "BTC-USD"}]}]
        when = {"timestamp": "2026-01-31T08:00:00Z", "sequence_num": index}
        return frame({"channel": "candles", "client_id": ""} | when | {"events": events}, index)

    frames = [candle(0, 1_769_846_700, "5"), candle(1, 1_769_846_400, "3"), candle(2, 1_769_846_700, "6")]
    assert exported(frames, tmp_path / "c.parquet", "candles").rows == {"candles": 2}
    assert rows(tmp_path / "c.parquet", "epoch_ns(start), close") == [
        (1_769_846_400 * 10**9, Decimal(3)),
        (1_769_846_700 * 10**9, Decimal(6)),
    ]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19))
def test_a_number_is_what_it_was(number: Decimal) -> None:
    maker = RowMaker()
    for text in (f"{number:f}", f"{number.normalize(Context(prec=60)):E}"):
        written = maker._number(text)
        assert written is not None
        assert Decimal(written) == number
    assert not maker.invalid


@pytest.mark.parametrize(
    "text", ["1e30", "-1e20", "0.1234567890123456789", "NaN", "Infinity", "x", "1" * 200, "1e999999"]
)
def test_what_a_column_does_not_hold_is_null_and_counted_and_never_rounded(text: str, tmp_path: Path) -> None:
    result = exported([frame(match(1, price=text))], tmp_path / "t.parquet")
    assert (result.rows, result.invalid) == ({"trades": 1}, 1)
    assert rows(tmp_path / "t.parquet", "price, trade_id") == [(None, 1)]


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    frames = [
        Frame(b"no json", 1, 1, 0),
        frame(match("x", time="yesterday", product_id="a\0b")),
        frame(match(2)),
    ]
    result = exported(frames, tmp_path / "t.parquet")
    assert (result.frames, result.malformed, result.invalid, result.rows) == (3, 1, 2, {"trades": 2})


def test_only_some_products_of_a_frame_of_several(tmp_path: Path, real_recording: Callable[[str], Path]) -> None:
    frames = list(read_frames([real_recording("advanced-2026")]))
    exported(frames, tmp_path / "t.parquet", "tickers", products=["ETH-USD"])
    found = rows(tmp_path / "t.parquet", "product_id")
    assert found
    assert {row[0] for row in found} == {"ETH-USD"}


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("advanced-2026", {"trades": 258, "tickers": 104, "candles": 200}),
        ("exchange-2021", {"trades": 45, "tickers": 45, "candles": 0}),
    ],
)
def test_real_recordings(
    name: str,
    counts: dict[str, int],
    command: Callable[..., Any],
    real_recording: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    recording = real_recording(name)
    assert command("export", recording, "--to", "day.parquet").wait() == 0
    for kind, count in counts.items():
        assert len(rows(tmp_path / f"day.{kind}.parquet")) == count

    messages = [message for one in read_frames([recording]) for message in decode(one)]
    trades = {(m.product_id, int(m.trade_id or 0)): (m.price, m.size) for m in messages if isinstance(m, Trade)}
    found = rows(tmp_path / "day.trades.parquet", "product_id, trade_id, price, size")
    assert [row[:2] for row in found] == sorted(trades)
    assert [row[2:] for row in found] == [tuple(Decimal(str(n)) for n in trades[row[:2]]) for row in found]
    prices = [Decimal(str(m.price)) for m in messages if isinstance(m, Ticker)]
    assert [row[0] for row in rows(tmp_path / "day.tickers.parquet", "price")] == prices


def test_a_journal_in_use_is_exported_to_one_file(command: Callable[..., Any], tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "live.journal") as journal:
        for index in range(10):
            journal.append(frame(match(index + 1), index))
        assert journal.flush(30)
        running = command("export", "--from-journal", "live.journal", "--to", "t.parquet", "--kind", "trades")
        assert running.wait() == 0
    assert running.stdout == "t.parquet\t10 trades\n"
    assert [row[0] for row in rows(tmp_path / "t.parquet", "trade_id")] == list(range(1, 11))


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        exported([], tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def frames() -> Iterable[Frame]:
        yield frame(match(1))
        raise OSError(28, "No space left on device")

    with pytest.raises(ExportError, match="No space left on device"):
        exported(frames(), tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ExportError, match="No such file"):
        exported([], tmp_path / "absent" / "t.parquet")


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Path]:
    """A recording whose reader waits for more than a first frame, which never comes."""
    path = tmp_path / "endless.jsonl"
    os.mkfifo(path)
    # For both, that nobody waits for the other.
    pipe = os.open(path, os.O_RDWR)
    os.write(pipe, b'{"ts":1.5,"data":"{}"}\n')
    yield path
    os.close(pipe)


def staged(folder: Path) -> set[Path]:
    """The folders of exports that are at work."""
    return {found for found in folder.glob(".rxbridge-export-*") if (found / "trades.jsonl").exists()}


def test_what_a_killed_export_has_left_is_removed_by_the_next_and_what_is_at_work_is_not(
    command: Callable[..., Any], recording: Callable[..., Path], endless: Path, wait_for: Callable[..., None]
) -> None:
    folder = endless.parent
    killed = command("export", endless, "--to", "a.parquet", "--kind", "trades")
    wait_for(lambda: bool(staged(folder)))
    abandoned = staged(folder)
    killed.send(signal.SIGKILL)
    killed.wait()
    assert staged(folder) == abandoned
    # As of a version that knew no lock, and as of somebody else.
    (folder / ".rxbridge-export-old").mkdir()
    (folder / ".rxbridge-export-file").write_text("mine")

    at_work = command("export", endless, "--to", "b.parquet", "--kind", "trades")
    wait_for(lambda: bool(staged(folder) - abandoned))
    assert staged(folder).isdisjoint(abandoned)
    (own,) = staged(folder)
    assert "which an export that was killed had left" in at_work.stderr

    following = command("export", recording(trades=10), "--to", "c.parquet", "--kind", "trades")
    assert following.wait() == 0
    assert len(rows(folder / "c.parquet")) == 10
    assert set(folder.glob(".rxbridge-export-*")) == {own, folder / ".rxbridge-export-file"}

    at_work.send(signal.SIGTERM)
    assert at_work.wait() == 130
    assert set(folder.glob(".rxbridge-export-*")) == {folder / ".rxbridge-export-file"}


def test_a_folder_that_another_export_takes_for_abandoned_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come in between the making of a folder and its lock."""
    made: list[Path] = []

    def make(folder: Path) -> int:
        made.append(folder)
        if len(made) == 1:
            shutil.rmtree(folder)
        descriptor = open_lock(folder)
        if len(made) == 2:
            shutil.rmtree(folder)
        return descriptor

    open_lock = staging._open
    monkeypatch.setattr(staging, "_open", make)
    with staging.staging_folder(tmp_path) as folder:
        assert [path.exists() for path in made] == [False, False, True]
        assert folder == made[2]
    assert list(tmp_path.iterdir()) == []


def test_products_that_never_occur_are_told(
    command: Callable[..., Any], recording: Callable[..., Path], tmp_path: Path
) -> None:
    arguments = ("export", recording(trades=10), "--to", "day.parquet", "--kind", "trades")
    running = command(*arguments, "--products", "NOPE")
    assert running.wait() == 78
    assert "--products: no frame is of NOPE; there are frames of BTC-USD, ETH-USD" in running.stderr
    assert not list(tmp_path.glob("*.parquet"))

    running = command(*arguments, "--products", "NOPE,ETH-USD")
    assert running.wait() == 0
    assert "no frame is of NOPE; there are frames of BTC-USD" in running.stderr
    assert len(rows(tmp_path / "day.parquet")) == 5


def test_another_ending_is_refused(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").touch()
    running = command("export", tmp_path / "x.jsonl", "--to", "day.csv")
    assert running.wait() == 78
    assert "does not end with .parquet" in running.stderr


def test_it_needs_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtra, match=r"rxbridge\[export\]"):
        exported([], tmp_path / "t.parquet")


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def frames(count: int) -> Iterable[Frame]:
        return (frame(match(number + 1, maker_order_id="5f4bb11b" * 10), number) for number in range(count))

    exported(frames(20_000), tmp_path / "warm.parquet")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    exported(frames(100_000), tmp_path / "t.parquet")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150_000, "kibibytes: DuckDB sorts in memory what it may, and 100,000 frames are 40 MB"
