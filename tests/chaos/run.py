"""One run: everything starts, the schedule happens, the faults cease, what is to come comes, and the audit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, Unpack

import msgspec
import requests

from rxbridge.errors import JournalError
from tests.chaos.auditing import audit, missing_trades
from tests.chaos.books import images, read_books, stored
from tests.chaos.host import Host
from tests.chaos.kinds import KINDS, PRODUCTS
from tests.chaos.processes import ChaosError, wait_until
from tests.chaos.quotes import has_exact_books
from tests.chaos.schedule import Fault, Schedule
from tests.chaos.servers import market_books
from tests.chaos.stage import Stage, StageOptions

SETTLE_SECONDS = 90.0
"""How long the bridge may take to catch up once the faults have ceased: pauses between tries grow to half a minute."""

DEPTH = 10
"""Levels of each side in an image: `events.book_depth` by default."""

_NEEDS_RESTART = frozenset({"subscription_error", "partial_ack"})
"""What Coinbase refuses is asked for again after an hour, or at the next start."""

Play: TypeAlias = Callable[[Stage, Host], None]


class Result(msgspec.Struct):
    """What became of a run.

    Attributes:
        seed: Its seed.
        seconds: How long it took.
        trades: How many trades the market made while it lasted.
        lost: See `Findings`; so are the next three.
        duplicated: Likewise.
        silent: Likewise.
        problems: Likewise.
        fired: How often each kind of fault happened.
        impossible: Kinds that this machine does not permit.
        figures: What `rxbridge verify` said.
        folder: Where its logs, journal and database are; empty where they were not kept.
    """

    seed: int
    seconds: float = 0.0
    trades: int = 0
    lost: list[str] = []
    duplicated: list[str] = []
    silent: list[str] = []
    problems: list[str] = []
    fired: dict[str, int] = {}
    impossible: list[str] = []
    figures: dict[str, object] = {}
    folder: str = ""

    @property
    def ok(self) -> bool:
        """Whether the promise held."""
        return not (self.lost or self.duplicated or self.silent or self.problems)


def run(schedule: Schedule, folder: Path, *, play: Play | None = None, **options: Unpack[StageOptions]) -> Result:
    """Do a run in a folder of its own, and say what became of it.

    Args:
        schedule: What happens.
        folder: Where.
        play: What to do once everything is ready; None for the schedule, and all that comes of it.
        options: Of the stage.
    """
    began = time.monotonic()
    try:
        with Stage(schedule, folder, **options) as stage:
            host = Host(stage)
            try:
                (play or _happen_and_settle)(stage, host)
                findings = audit(stage)
                stage.finish()
            finally:
                host.cease()
    except ChaosError as error:
        return Result(schedule.seed, time.monotonic() - began, problems=[str(error)], folder=str(folder))
    return Result(
        seed=schedule.seed,
        seconds=round(time.monotonic() - began, 1),
        trades=sum(len(stage.simulator.trades(product)) for product in PRODUCTS),
        lost=findings.lost,
        duplicated=findings.duplicated,
        silent=findings.silent,
        problems=findings.problems,
        fired=dict(stage.fired),
        impossible=sorted(host.impossible),
        figures=findings.figures,
        folder=str(folder),
    )


def _happen_and_settle(stage: Stage, host: Host) -> None:
    happen(stage, host)
    # The heartbeats of Advanced Trade do not say what the last trade was: of one that came in a damaged frame, only the
    # next one tells.
    ends = {product: stage.simulator.trades(product).stop for product in PRODUCTS}
    wait_until(lambda: all(stage.simulator.trades(name).stop > end for name, end in ends.items()), SETTLE_SECONDS)
    settle(stage, host)


def happen(stage: Stage, host: Host) -> None:
    """Let the schedule happen, and be the supervisor meanwhile."""
    moments = sorted(_moments(stage, host), key=lambda moment: moment[0])
    while stage.elapsed < stage.schedule.seconds or moments:
        while moments and moments[0][0] <= stage.elapsed:
            moments.pop(0)[1]()
        stage.supervise()
        time.sleep(0.02)


def _moments(stage: Stage, host: Host) -> list[tuple[float, Callable[[], None]]]:
    def begin(fault: Fault) -> Callable[[], None]:
        return lambda: host.begin(fault)

    def end(fault: Fault) -> Callable[[], None]:
        return lambda: host.end(fault)

    def excused(fault: Fault) -> Callable[[], None]:
        return lambda: stage.excuse(fault.kind, fault.seconds or 0.0)

    moments: list[tuple[float, Callable[[], None]]] = []
    for fault in stage.schedule.of("host"):
        moments.append((fault.at, begin(fault)))
        if fault.seconds is not None:
            moments.append((fault.end, end(fault)))
    # Those of the servers happen by themselves; but what ends the bridge should be known.
    moments.extend((fault.at, excused(fault)) for fault in stage.schedule.of("sink"))
    return moments


def settle(stage: Stage, host: Host) -> None:
    """No more faults and no more trades: everything must arrive, and the bridge then end as it should."""
    host.cease()
    stage.simulator.pause()
    if stage.schedule.kinds & _NEEDS_RESTART:
        stage.stop_bridge()
        stage.bridge_away(0.0)

    wait_for_all(stage)
    if has_exact_books(stage.schedule):
        wait_for_books(stage, "at the end")
    stage.stop_bridge()
    # Once more: a start after the end must find nothing to do, and say so in the books.
    connections = len(read_books(stage.journal).times)
    stage.start_bridge().wait_for("Subscription confirmed")
    wait_until(lambda: len(read_books(stage.journal).times) > connections, SETTLE_SECONDS)
    wait_for_all(stage)
    wait_for_books(stage, "after one more start")
    stage.stop_bridge()


def wait_for_books(stage: Stage, when: str) -> None:
    """Wait until the market's books, which stand still, are what PulseStream was shown of them."""

    def are_there() -> bool:
        stage.supervise()
        return not unseen_books(stage)

    if stage.schedule.books and not wait_until(are_there, SETTLE_SECONDS, every_seconds=0.5):
        stage.problems.append(f"no image shows {when} how the books are of {', '.join(unseen_books(stage))}")


def unseen_books(stage: Stage) -> list[str]:
    """The products whose books no image shows as they are now."""
    try:
        market = market_books(stage.simulator)
    except requests.RequestException:
        return list(PRODUCTS)
    told = {(image.product, image.bids, image.asks) for image in images(stage.database)}
    return [product for product, (bids, asks) in market.items() if (product, bids[:DEPTH], asks[:DEPTH]) not in told]


def wait_for_all(stage: Stage) -> None:
    """Be the supervisor until everything has arrived."""

    def settled() -> bool:
        stage.supervise()
        return stage.bridge is not None and stage.sink is not None and is_settled(stage)

    if not wait_until(settled, SETTLE_SECONDS):
        stage.problems.append(f"not all had arrived {SETTLE_SECONDS:g} s after the faults had ceased")


def is_settled(stage: Stage) -> bool:
    """Whether all trades are stored, and nothing waits to be delivered or confirmed."""
    try:
        books = read_books(stage.journal)
    except (JournalError, FileNotFoundError):
        return False
    missing = missing_trades(stage, stored(stage.database), books)
    told = [gap for gap in books.market_gaps if gap.kind == "trades"]
    absent = any(
        not any(product in gap.products and gap.first <= trade <= gap.last for gap in told)
        for product, trades in missing.items()
        for trade in trades
    )
    at_work = books.waiting or books.unfollowed or (stage.schedule.confirm and books.unconfirmed)
    return len(missing) == len(PRODUCTS) and not absent and not at_work


def describe(result: Result) -> list[str]:
    """What is wrong, a line each, the first few of each sort."""
    sorts = {"lost": result.lost, "twice": result.duplicated, "silent": result.silent, "problem": result.problems}
    lines: list[str] = []
    for sort, found in sorts.items():
        lines.extend(f"{sort}: {text}" for text in found[:5])
        if len(found) > 5:
            lines.append(f"{sort}: and {len(found) - 5} more")
    return lines


def known_kinds(names: str) -> list[str]:
    """Kinds by name, separated by commas.

    Raises:
        ChaosError: There is no such kind.
    """
    kinds = [name.strip() for name in names.split(",") if name.strip()]
    for name in kinds:
        if name not in KINDS:
            raise ChaosError(f"there is no fault {name!r}; known are {', '.join(KINDS)}")
    return kinds
