"""`python -m benchmarks.time_travel`: a simulated day, recorded, and played twice on virtual time.

It says how long that takes, how much memory, and whether both gave the same output, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from reactivex import operators as ops

from operators import ReplayClock, batch, candles, changes_by, conflate, crosses_above, only, parse, vwap
from operators.measured import Measured
from rxbridge import recording
from rxbridge.coinbase.decoding import decode
from rxbridge.messages import Frame, Ticker, Trade
from rxbridge.recording import RecordingWriter

DAY = 86_400_000_000_000
START = 1_769_817_600_000_000_000
"""2026-01-31T00:00:00Z, in nanoseconds since the Unix epoch."""
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
ALERT = 109.9

_MATCH = (
    b'{"type":"match","trade_id":%d,"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8",'
    b'"taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","side":"sell","size":"0.%04d","price":"%b",'
    b'"product_id":"%b","sequence":%d,"time":"%b"}'
)
_TICKER = (
    b'{"type":"ticker","sequence":%d,"product_id":"%b","price":"%b","open_24h":"99.1","volume_24h":"1234.5",'
    b'"low_24h":"90","high_24h":"120.25","volume_30d":"99999.9","best_bid":"%b","best_bid_size":"1","best_ask":"%b",'
    b'"best_ask_size":"1","side":"buy","time":"%b","trade_id":%d,"last_size":"0.01"}'
)


@dataclass(frozen=True)
class Played:
    """What one run gave."""

    seconds: float
    outputs: int
    digest: str


def frames(count: int) -> Iterator[Frame]:
    """A day of trades, each with its ticker, of three products in turn."""
    step = DAY // count
    for number in range(count // 2):
        at = START + 2 * number * step
        product = PRODUCTS[number % len(PRODUCTS)].encode()
        trade = number // len(PRODUCTS) + 1
        price = f"{100 + number * 7919 % 1000 / 100:.2f}".encode()
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 10**9))
        when = f"{second}.{at % 10**9:09d}Z".encode()
        match = _MATCH % (trade, number % 97 + 1, price, product, number, when)
        ticker = _TICKER % (number, product, price, price, price, when, trade)
        yield Frame(match, at, START, 2 * number)
        yield Frame(ticker, at + step // 2, START, 2 * number + 1)


def play(path: Path) -> Played:
    """Candles, averages that have moved, alerts, conflated quotes and batches, each with its time in the digest."""
    began, clock, digest, outputs = time.perf_counter(), ReplayClock(), hashlib.sha256(), 0

    def note(name: str) -> Callable[[object], None]:
        def take(value: object) -> None:
            nonlocal outputs
            outputs += 1
            digest.update(f"{name} {clock.moment} {value}\n".encode())

        return take

    messages = recording.frames(path, scheduler=clock).pipe(parse(decode, failed=_fail), ops.share())
    trades = messages.pipe(only(Trade), ops.share())
    trades.pipe(candles(60)).subscribe(note("candle"))
    trades.pipe(vwap(300), ops.map(_average), changes_by(_value, _first, percent=1)).subscribe(note("average"))
    trades.pipe(crosses_above(ALERT, _price, _product, rearm=0.5), ops.map(_brief)).subscribe(note("alert"))
    trades.pipe(batch(count=1000, seconds=5, scheduler=clock), ops.map(len)).subscribe(note("batch"))
    quotes = messages.pipe(only(Ticker), conflate(1.0, key=_product, scheduler=clock))
    quotes.pipe(ops.map(_brief)).subscribe(note("quote"))
    clock.start()
    return Played(time.perf_counter() - began, outputs, digest.hexdigest())


def _price(trade: Trade) -> float:
    return float(trade.price or 0)


def _product(message: Trade | Ticker) -> str:
    return message.product_id or ""


def _brief(message: Trade | Ticker) -> tuple[object, object]:
    return message.product_id, message.price


def _average(result: Measured[Trade, Decimal]) -> tuple[str, Decimal]:
    return _product(result.item), result.value


def _first(average: tuple[str, Decimal]) -> str:
    return average[0]


def _value(average: tuple[str, Decimal]) -> Decimal:
    return average[1]


def _fail(frame: Frame, error: Exception) -> None:
    raise AssertionError(f"{frame.index}: {error}")


def main() -> int:
    """Record, and play twice.

    Returns:
        0; or 1 if the two runs differ.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_travel", description=__doc__)
    parser.add_argument("--frames", type=int, default=2_000_000, help="how many the day has")
    count = parser.parse_args().frames
    with tempfile.TemporaryDirectory(prefix="rxbridge-benchmark-") as folder:
        path = Path(folder) / "day.jsonl.zst"
        began = time.perf_counter()
        with RecordingWriter(path) as writer:
            for frame in frames(count):
                writer.append(frame)
        print(f"recorded {count:,} frames in {time.perf_counter() - began:.1f} s: {path.stat().st_size:,} bytes")
        runs = [play(path) for _ in range(2)]
    for run in runs:
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"played in {run.seconds:.1f} s, {megabytes:.0f} MB: {run.outputs:,} outputs, SHA-256 {run.digest}")
    return 0 if runs[0].digest == runs[1].digest else 1


if __name__ == "__main__":
    sys.exit(main())
