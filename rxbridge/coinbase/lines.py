"""Several connections at the same time, as one Observable: products spread over them, and each brought more than once.

line 0     a---b-------d------          brings some of the products
line 1     --a---b-------d----          brings the same ones
line 2     ------x-----------y          brings the others
result     a-a-b-bx----d-d---y
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable, SerialDisposable

from rxbridge.coinbase.allocation import Allocation
from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.errors import SubscriptionRejected
from rxbridge.events.cleaning import shorten
from rxbridge.messages import MOST_LINES, Frame
from rxbridge.telemetry.statistics import FeedStatistics

OPENING_SECONDS = 0.5
"""The least time between the openings of two connections. Coinbase takes eight new connections a second of one address,
and eight messages, of which a connection sends about three at its beginning
(https://docs.cdp.coinbase.com/exchange/websocket-feed/rate-limits)."""

_TOLD = 300
"""Characters of what the log is told of products; there may be thousands."""

MakeLine: TypeAlias = Callable[[int, ProductsInForce, FeedStatistics], Observable[Frame]]
"""Makes a line, given its number, its products, and where to count."""


class Pace:
    """Spreads the openings of connections, whoever asks for them.

    Args:
        seconds: Between two of them, at least.
        clock: Seconds that only rise.
    """

    def __init__(self, seconds: float = OPENING_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: list[float] = []

    def after(self, seconds: float) -> float:
        """How long to wait, if the opening should be in so many seconds; that time is taken then."""
        with self._lock:
            now = self._clock()
            self._taken = sorted(at for at in self._taken if at > now - self._seconds)
            wish = now + seconds
            for at in self._taken:
                if abs(at - wish) < self._seconds:
                    wish = at + self._seconds
            self._taken.append(wish)
            return wish - now


@dataclass(frozen=True, slots=True)
class Spread:
    """How products are spread.

    Attributes:
        products_per_connection: The most that one connection brings; None for no limit.
        connections: How many connections bring each product.
        rejected_seconds: After so long a line is tried again of which Coinbase took no product.
        pace: When connections may be opened.
    """

    products_per_connection: int | None
    connections: int
    rejected_seconds: float
    pace: Pace


def lines(
    products: ProductsInForce, make: MakeLine, spread: Spread, statistics: FeedStatistics, scheduler: SchedulerBase
) -> Observable[Frame]:
    """The frames of all lines, one at a time; when the products change, so do the lines, at the next frame of any.

    A line that Coinbase takes no product of is logged, and tried again later. When that happens to all lines, or a line
    fails otherwise, it is the error of this Observable.

    Args:
        products: All products.
        make: Makes one line.
        spread: How to spread the products.
        statistics: Where the lines' counters are kept.
        scheduler: For the beginnings of the lines.
    """

    def subscribe(observer: ObserverBase[Frame], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        together = _Lines(products, make, spread, statistics, observer=observer, scheduler=scheduler)
        together.allot()
        return Disposable(together.dispose)

    return Observable(subscribe)


@dataclass(slots=True)
class _Line:
    """A line: its products, which may change, and its subscription."""

    products: ProductsInForce
    subscription: SerialDisposable
    is_refused: bool = False


class _Lines:
    """The lines of one subscription."""

    def __init__(
        self,
        products: ProductsInForce,
        make: MakeLine,
        spread: Spread,
        statistics: FeedStatistics,
        *,
        observer: ObserverBase[Frame],
        scheduler: SchedulerBase,
    ) -> None:
        self._products = products
        self._seen: tuple[str, ...] = ()
        self._make = make
        self._spread = spread
        self._statistics = statistics
        self._observer = observer
        self._scheduler = scheduler
        self._allocation = Allocation(spread.products_per_connection, MOST_LINES // spread.connections)
        self._left_out: tuple[str, ...] = ()
        self._lines: dict[int, _Line] = {}
        self._lock = threading.RLock()
        self._emission = threading.Lock()
        self._ended = False

    def allot(self) -> None:
        """Have the lines that the products want that are in force now."""
        with self._lock:
            if self._ended or self._products.current is self._seen:
                return
            self._seen = self._products.current
            self._allocation.allot(self._seen)
            self._tell_left_out()
            wanted = {
                group * self._spread.connections + copy: products
                for group, products in self._allocation.groups.items()
                for copy in range(self._spread.connections)
            }
            for number in self._lines.keys() - wanted.keys():
                self._lines.pop(number).subscription.dispose()
                self._statistics.of_line(number).rejected_products = {}
            if wanted.keys() != self._lines.keys() and len(wanted) > 1:
                logger.info("[LINES] {} products are brought by {} connections", len(self._seen), len(wanted))
            for number, these in wanted.items():
                self._have(number, these)

    def dispose(self) -> None:
        """End all lines."""
        with self._lock:
            self._ended = True
            ended = [line.subscription for line in self._lines.values()]
            self._lines.clear()
        for subscription in ended:
            subscription.dispose()

    def _tell_left_out(self) -> None:
        before, self._left_out = self._left_out, self._allocation.left_out
        if self._left_out and self._left_out != before:
            logger.error(
                "[LINES] {} products are not fed, as there would be more than {} connections: {}. Raise "
                "products_per_connection, lower connections, or ask for fewer products, and start again",
                len(self._left_out),
                MOST_LINES,
                shorten(", ".join(self._left_out), _TOLD),
            )

    def _have(self, number: int, products: tuple[str, ...]) -> None:
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = _Line(ProductsInForce(products), SerialDisposable())
            self._begin_in(self._spread.pace.after(0.0), number, line)
            return
        changed = line.products.current != products
        line.products.set(products)
        if changed and line.is_refused:
            line.is_refused = False
            self._begin_in(self._spread.pace.after(0.0), number, line)

    def _begin_in(self, seconds: float, number: int, line: _Line) -> None:
        def begin(_scheduler: SchedulerBase, _state: object = None) -> None:
            self._begin(number, line)

        line.subscription.disposable = self._scheduler.schedule_relative(seconds, begin)

    def _begin(self, number: int, line: _Line) -> None:
        statistics = self._statistics.of_line(number)
        frames = self._make(number, line.products, statistics)
        with self._lock:
            if self._lines.get(number) is not line:
                return
            # Unless it says so again: one that works by now has no part in a later refusal of the others.
            line.is_refused = False
            line.subscription.disposable = frames.subscribe(self._emit, lambda error: self._fail(number, line, error))

    def _emit(self, frame: Frame) -> None:
        # One call at a time, as observers may expect; each line waits for its turn, and so does what is behind it.
        with self._emission:
            if not self._ended:
                self._observer.on_next(frame)
        if self._products.current is not self._seen:
            self.allot()

    def _fail(self, number: int, line: _Line, error: Exception) -> None:
        with self._lock:
            if self._ended or self._lines.get(number) is not line:
                return
            if isinstance(error, SubscriptionRejected):
                line.is_refused = True
                if not all(other.is_refused for other in self._lines.values()):
                    logger.error(
                        "[REJECTED] Connection {} brings nothing, and is tried again later: {}", number + 1, error
                    )
                    self._begin_in(self._spread.rejected_seconds, number, line)
                    return
        self.dispose()
        with self._emission:
            self._observer.on_error(error)
