"""One connection as a cold Observable: connect, receive, stamp, emit."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable

from rxbridge.coinbase import problems
from rxbridge.coinbase.framing import WebSocket
from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.coinbase.negotiation import Negotiation
from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.rejections import Rejections
from rxbridge.coinbase.renewal import BooksInDoubt, RenewalPlan
from rxbridge.coinbase.session import Session
from rxbridge.coinbase.subscription import Subscription
from rxbridge.coinbase.transport import DisposedError, Endpoint, Lifeline, open_transport
from rxbridge.errors import ConnectionLost, FeedError
from rxbridge.messages import MOST_LINES, Frame
from rxbridge.telemetry.statistics import FeedStatistics


@dataclass(frozen=True, slots=True)
class Plan:
    """What a connection is for, and its limits; `rxbridge.coinbase.frames` explains each.

    The channels are named as on the wire. `line` is the number of the connection among those that are kept up at the
    same time, and `name` what the log calls it, if there are several.
    """

    endpoint: Endpoint
    protocol: FeedProtocol
    products: ProductsInForce
    in_doubt: BooksInDoubt
    book_refresh_seconds: float
    book_doubt_seconds: float
    channels: Sequence[str]
    stall_seconds: float
    connect_timeout_seconds: float
    acknowledge_seconds: float
    max_frame_bytes: int
    line: int = 0
    name: str = "WebSocket connection"


def connection(plan: Plan, rejections: Rejections, statistics: FeedStatistics) -> Observable[Frame]:
    """A single connection, cold: subscribing opens it on a thread of its own, disposing closes it, from any thread.

    Every text and binary message is emitted, garbage and Coinbase's answers to us included. It never completes. Its
    errors are ConnectionLost, FeedStalled, SubscriptionRejected, and whatever a subscriber raised; the socket is
    closed when one is emitted.
    """

    def subscribe(observer: ObserverBase[Frame], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        receiver = _Receiver(plan, rejections, statistics, observer)
        try:
            threading.Thread(target=receiver.run, name="rxbridge-feed", daemon=True).start()
        except RuntimeError as error:  # the system has no thread to give now
            observer.on_error(ConnectionLost(plan.endpoint.url, str(error)))
        return Disposable(receiver.lifeline.dispose)

    return Observable(subscribe)


class _Receiver:
    """Runs one connection from beginning to end, on its thread; other threads touch nothing but its lifeline."""

    def __init__(
        self, plan: Plan, rejections: Rejections, statistics: FeedStatistics, observer: ObserverBase[Frame]
    ) -> None:
        self.lifeline = Lifeline()
        self._plan = plan
        self._url = plan.endpoint.url
        self._rejections = rejections
        self._statistics = statistics
        self._observer = observer
        self._websocket = WebSocket(plan.max_frame_bytes)
        self._opened_at = 0

    def run(self) -> None:
        """Connect and receive until something ends it; close; then say what it was."""
        failure: Exception | None = None
        try:
            self._receive(self._open())
        except DisposedError:
            pass  # like every other effect of a dispose, told below
        except FeedError as error:
            failure = error
        except BaseException as error:  # noqa: BLE001, a thread has no caller: whatever was raised, `sys.exit` too, is told
            logger.opt(exception=error).error("[FAILED] The feed ends: its subscriber, or the feed itself, failed")
            failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
        if self.lifeline.disposed:
            self._websocket.send_close()
        self.lifeline.close()
        if self._opened_at:
            seconds = (time.time_ns() - self._opened_at) / 1e9
            logger.info("[CLOSED] {} closed after {:,.0f} s", self._plan.name, seconds)
        if failure is not None and not self.lifeline.disposed:
            self._statistics.disconnections += bool(self._opened_at)
            self._observer.on_error(failure)

    def _open(self) -> Session:
        deadline = time.monotonic() + self._plan.connect_timeout_seconds
        try:
            transport = open_transport(self._plan.endpoint, self.lifeline, deadline)
            self._websocket.open(self._url, transport)
        except problems.CAUSES as cause:
            raise problems.not_opened(self._url, cause) from cause
        transport.limit = inf
        self._opened_at = time.time_ns()
        self._statistics.connections += 1
        logger.info("[CONNECTED] {} established", self._plan.name)
        plan, products = self._plan, self._plan.products.current
        return Session(
            self._websocket,
            transport,
            self._negotiation(products),
            plan.protocol.answers,
            in_force=plan.products,
            in_doubt=plan.in_doubt,
            asked=products,
            url=self._url,
            stall_seconds=plan.stall_seconds,
        )

    def _negotiation(self, products: Sequence[str]) -> Negotiation:
        plan, rejections = self._plan, self._rejections
        rejections.forget_all_but(products)
        subscription = Subscription(
            products,
            plan.channels,
            protocol=plan.protocol,
            acknowledge_seconds=plan.acknowledge_seconds,
            allow=rejections.allow,
        )
        return Negotiation(
            subscription,
            products,
            self._websocket.send,
            url=self._url,
            protocol=plan.protocol,
            rejections=rejections,
            renewals=RenewalPlan(
                self._connection_id,
                0 if plan.protocol.books_are_numbered else plan.book_refresh_seconds,
                plan.book_doubt_seconds,
            ),
            statistics=self._statistics,
        )

    @property
    def _connection_id(self) -> int:
        return self._opened_at // MOST_LINES * MOST_LINES + self._plan.line

    def _receive(self, session: Session) -> None:
        """Emit message after message. It is done for each of them, so it is little."""
        lifeline, statistics, emit, connection_id = (
            self.lifeline,
            self._statistics,
            self._observer.on_next,
            self._connection_id,
        )
        for index, data in enumerate(session.messages()):
            if lifeline.disposed:
                return  # what was read with this message in one piece is of no interest to anyone
            received_at = time.time_ns()
            statistics.frames += 1
            statistics.bytes += len(data)
            statistics.last_frame_at = received_at
            emit(Frame(data, received_at, connection_id, index))
