"""Scenarios by name: each shows one promise at length, with figures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.books import read_books, stored
from tests.chaos.host import Host
from tests.chaos.kinds import PRODUCTS
from tests.chaos.processes import Running, wait_until
from tests.chaos.run import Result, happen, is_settled, run, settle
from tests.chaos.schedule import Fault, planned
from tests.chaos.stage import Stage

BEHIND = 20_000
"""Trades that were made while the bridge was away for a night."""

OUTAGE_RATE = 1_000.0
"""Trades a second, each of which makes a match and a ticker."""

MEMORY_LIMIT_BYTES = 150_000_000
CATCH_UP_SECONDS = 900.0


def lossy(folder: Path, minutes: float) -> list[Result]:
    """One frame in 50 is dropped, and the feed disconnects every 5 s, at 50 trades a second."""
    seconds = minutes * 60
    faults = [Fault("drop", 0.0, seconds, {"probability": 0.02})]
    faults += [Fault("close", float(at), None, {"code": 1006}) for at in range(5, int(seconds), 5)]
    result = run(planned(1, faults, seconds=seconds, rate=50.0), folder)
    books = read_books(folder / "bridge.journal")
    print(f"trade gaps: {sum(gap.kind == 'trades' for gap in books.market_gaps)}; {contiguity(folder)}")
    return [result]


def night(folder: Path, _minutes: float) -> list[Result]:
    """The journal is from yesterday, and 20,000 trades were made since."""
    schedule = planned(1, [], seconds=2.0, rate=40.0)

    def play(stage: Stage, host: Host) -> None:
        subscribed(stage)
        happen(stage, host)
        stage.stop_bridge()
        before = trades(stage)
        stage.replace_market(history=BEHIND // len(PRODUCTS) + before)
        stage.simulator.pause()
        behind, began = trades(stage) - before, time.monotonic()
        bridge = subscribed(stage)
        if not wait_until(lambda: is_settled(stage), CATCH_UP_SECONDS):
            stage.problems.append("it did not catch up")
        print(f"{behind} trades behind, caught up in {time.monotonic() - began:.1f} s; {order(stage)}")
        print("\n".join(re.findall(r"\[BACKFILL\][^\"]*", bridge.said)))
        settle(stage, host)

    result = run(schedule, folder, play=play)
    print(contiguity(folder))
    return [result]


def stock_limit(folder: Path, minutes: float) -> list[Result]:
    """PulseStream takes 100 events a minute, and there are 400 tickers a minute; with each policy."""
    results: list[Result] = []
    for overload in ("keep", "conflate"):
        place = folder / overload
        schedule = planned(1, [], seconds=minutes * 60, rate=400 / 60)
        results.append(
            run(
                schedule,
                place,
                play=_until_stopped,
                rate_limit=100,
                channels=("ticker",),
                settings={"RXBRIDGE_DELIVERY_OVERLOAD": overload, "PULSESTREAM_API_EVENTS_PER_MINUTE": ""},
            )
        )
        refused = (place / "bridge.log").read_text(encoding="utf-8").count("[THROTTLED]")
        print(f"{overload}: {refused} refused batches in {minutes:g} minutes, {results[-1].figures}")
        if refused > minutes + 1:
            results[-1].problems.append(f"{refused} refused batches in {minutes:g} minutes")
    return results


def liar(folder: Path, minutes: float) -> list[Result]:
    """One answer in ten says 200 and nothing is stored; everything is confirmed later."""
    seconds = minutes * 60
    return [run(planned(1, [Fault("lose", 0.0, seconds, {"probability": 0.1})], seconds=seconds, rate=50.0), folder)]


def outage(folder: Path, minutes: float) -> list[Result]:
    """PulseStream is away, at 2,000 frames a second; how much memory does it take?"""
    peak = 0

    def play(stage: Stage, host: Host) -> None:
        nonlocal peak
        bridge = subscribed(stage)
        host.begin(Fault("sink_kill", 0.0, None, {"away_seconds": minutes * 60}))
        began = time.monotonic()
        while time.monotonic() - began < minutes * 60:
            peak = max(peak, bridge.resident_bytes())
            time.sleep(0.5)
        stage.simulator.pause()
        away = read_books(stage.journal).waiting
        stage.supervise()
        began = time.monotonic()
        while not is_settled(stage) and time.monotonic() - began < CATCH_UP_SECONDS:
            peak = max(peak, bridge.resident_bytes())
            time.sleep(2.0)
        print(
            f"{away} frames waited, delivered in {time.monotonic() - began:.0f} s; peak of memory {peak / 1e6:.0f} MB"
        )
        settle(stage, host)

    result = run(planned(1, [], seconds=minutes * 60, rate=OUTAGE_RATE), folder, play=play)
    if peak > MEMORY_LIMIT_BYTES:
        result.problems.append(f"{peak / 1e6:.0f} MB of memory")
    return [result]


def _until_stopped(stage: Stage, host: Host) -> None:
    """Run for the time of the schedule, then stop as it is: what waits may wait."""
    happen(stage, host)
    stage.simulator.pause()
    stage.may_wait = True
    stage.stop_bridge()


def subscribed(stage: Stage) -> Running:
    """The bridge, once market data come."""
    bridge = stage.bridge if stage.bridge is not None else stage.start_bridge()
    bridge.wait_for("Subscription confirmed")
    return bridge


def trades(stage: Stage) -> int:
    """How many trades the market has made."""
    return sum(len(stage.simulator.trades(product)) for product in PRODUCTS)


def contiguity(folder: Path) -> str:
    """Whether the stored trades of each product are without a hole, and once each."""
    rows = stored(folder / "stored.sqlite")
    lines: list[str] = []
    for product in PRODUCTS:
        prefix = f"coinbase-{product}-match-"
        numbers = sorted(int(key.removeprefix(prefix)) for key in rows if key.startswith(prefix))
        holes = (numbers[-1] - numbers[0] + 1 - len(numbers)) if numbers else 0
        twice = sum(count - 1 for key, count in rows.items() if key.startswith(prefix))
        lines.append(f"{product}: {len(numbers)} trades, {holes} missing, {twice} twice")
    return "; ".join(lines)


def order(stage: Stage) -> str:
    """Whether the trades that were fetched are in the journal in order."""
    fetched: dict[str, list[int]] = {}
    for entry in read_books(stage.journal).entries:
        if entry.connection == 0:
            fetched.setdefault(entry.product, []).append(entry.trade_id)
    inorder = all(numbers == sorted(numbers) for numbers in fetched.values())
    return f"{sum(map(len, fetched.values()))} fetched, {'in order' if inorder else 'NOT in order'}"


Scenario = Callable[[Path, float], list[Result]]

SCENARIOS: dict[str, tuple[Scenario, float]] = {
    "lossy": (lossy, 2.0),
    "night": (night, 1.0),
    "stock-limit": (stock_limit, 3.0),
    "liar": (liar, 1.0),
    "outage": (outage, 10.0),
}
"""Each scenario by its name, with the minutes that it takes unless something else is said."""
