"""Carries out what the subscription's state machine decides: sends, logs, remembers, counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from loguru import logger

from rxbridge.coinbase.actions import Action, NothingLeft, Send, Settled, Unexplained
from rxbridge.coinbase.answers import Answer
from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.rejections import Rejection, Rejections
from rxbridge.coinbase.renewal import Doubts, RenewalPlan
from rxbridge.coinbase.subscription import Subscription
from rxbridge.coinbase.wanted import Wanted
from rxbridge.errors import ConnectionLost, SubscriptionRejected, quoted
from rxbridge.telemetry.statistics import FeedStatistics

_LARGE_BYTES = 65_536
"""What comes in parts in the time in which an answer is due, and is no snapshot, is less."""


class Negotiation:
    """The subscription of one connection to some products, which may change, and whose books may begin anew.

    `start`, `change`, `doubt`, `on_answer` and `on_time` may raise what `send` raises, and:
        SubscriptionRejected: Coinbase takes no product.
        ConnectionLost: It takes none now, though it took some before; that may pass.
    """

    def __init__(
        self,
        subscription: Subscription,
        products: Sequence[str],
        send: Callable[[bytes], object],
        *,
        url: str,
        protocol: FeedProtocol,
        rejections: Rejections,
        renewals: RenewalPlan,
        statistics: FeedStatistics,
    ) -> None:
        self._subscription = subscription
        self._send = send
        self._url = url
        self._protocol = protocol
        self._rejections = rejections
        self._renewals = renewals
        self._statistics = statistics
        self._introduced: set[str] = set()
        self._settled: Settled | None = None
        self._received = 0
        self._forget_all_but(products)

    @property
    def deadline(self) -> float:
        """When to call `on_time` next."""
        return min(self._subscription.deadline, self._renewals.deadline)

    def start(self, now: float) -> None:
        """Ask for everything."""
        self._perform(self._subscription.start(now))
        self._follow_books(now, 0)

    def change(self, products: Sequence[str], now: float, index: int) -> None:
        """Other products are wanted from now on.

        Args:
            products: Product ids.
            now: The time.
            index: How many frames came before; likewise below.
        """
        self._rejections.forget_all_but(products)
        self._forget_all_but(products)
        self._perform(self._subscription.change(products, now))
        self._follow_books(now, index)

    def doubt(self, doubts: Doubts, now: float) -> None:
        """Somebody knows books to be wrong; those of this connection are begun anew soon."""
        self._renewals.hear(doubts, now)

    def on_answer(self, answer: Answer, now: float, index: int) -> None:
        """Coinbase answered."""
        self._perform(self._subscription.on_answer(answer, now))
        self._follow_books(now, index)

    def on_time(self, now: float, index: int, received: int) -> None:
        """The deadline came.

        Args:
            now: The time.
            index: How many frames came before.
            received: How many bytes have come so far of messages that were not complete yet, by which it is seen that
                something large is coming in.
        """
        if now >= self._subscription.deadline:
            before, self._received = self._received, received
            self._perform(self._subscription.on_time(now, is_receiving=received - before >= _LARGE_BYTES))
        if now >= self._renewals.deadline:
            self._renew_books(now, index)

    def _renew_books(self, now: float, index: int) -> None:
        products, in_doubt = self._renewals.due(now, index)
        if not products:
            return
        tell = logger.warning if in_doubt else logger.debug
        tell("[BOOK] Beginning anew {}: {}", "what is wrong" if in_doubt else "in its turn", ", ".join(products))
        self._statistics.renewed_books += len(products)
        for channel in self._protocol.books:
            self._perform(self._subscription.renew(channel, products, now))

    def _follow_books(self, now: float, index: int) -> None:
        wanted = [product for channel in self._protocol.books for product in self._subscription.wanted_on(channel)]
        self._renewals.follow(list(dict.fromkeys(map(self._protocol.served_as, wanted))), now, index)

    def _forget_all_but(self, products: Sequence[str]) -> None:
        """What is wanted no longer counts as rejected no longer."""
        known = {*products, self._protocol.heartbeat}
        self._note({}, forget=self._statistics.rejected_products.keys() - known)

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send():
                    self._ask(action)
                case Rejection():
                    self._remember(action)
                case Settled():
                    self._settle(action)
                case Unexplained():
                    refused = action.refused
                    logger.warning("[ERROR] Coinbase says {}: {}", quoted(refused.message), quoted(refused.reason))
                case NothingLeft():
                    self._give_up(action)

    def _ask(self, request: Send) -> None:
        if request.verb == "unsubscribe":
            self._tell_end(request)
        else:
            self._tell_beginning(request)
        self._send(self._protocol.encode(request.verb, request.wanted))

    def _tell_end(self, request: Send) -> None:
        if request.repeated:
            logger.warning("[SUBSCRIBING] Not ended yet, unsubscribing again: {}", _listed(request.wanted))
        else:
            logger.debug("[SUBSCRIBING] Unsubscribing from {}", _listed(request.wanted))

    def _tell_beginning(self, request: Send) -> None:
        if request.repeated:
            logger.warning("[SUBSCRIBING] Not acknowledged yet, asking again: {}", _listed(request.wanted))
        elif request.wanted.keys() <= self._introduced:
            logger.debug("[SUBSCRIBING] Asking for {}", _listed(request.wanted))
        for channel in request.wanted:
            if channel not in self._introduced:
                logger.info("[SUBSCRIBING] Subscribing to {} channel...", channel)
        self._introduced.update(request.wanted)

    def _remember(self, rejection: Rejection) -> None:
        self._rejections.remember(rejection)
        match rejection:
            case (None, str(product), reason):
                self._note({product: reason})
            case (str(channel), None, reason):
                self._note_channels({channel: reason})
            case _:
                pass

    def _settle(self, settled: Settled) -> None:
        self._tell_rejections()
        confirmed = {product for products in settled.confirmed.values() for product in products}
        missing: dict[str, str] = {}
        for channel, products in settled.missing.items():
            for product in products:
                missing[product] = f"{missing.get(product, 'never acknowledged, though asked for twice:')} {channel}"
        if confirmed:
            self._rejections.accepted = True
        self._note(missing, forget=confirmed)
        self._note_channels({}, forget=set(settled.confirmed))
        self._statistics.settled += 1
        if settled.lingering:
            logger.warning("[UNCONFIRMED] Unsubscribed, and not known to have ended: {}", _listed(settled.lingering))
        if missing:
            logger.error("[UNCONFIRMED] Asked for twice and never acknowledged: {}", _listed(settled.missing))
        elif settled != self._settled:
            logger.success("[OK] Subscription confirmed: {}", _listed(settled.confirmed))
        else:
            logger.debug("[OK] Subscription confirmed as before")
        self._settled = settled

    def _give_up(self, nothing: NothingLeft) -> None:
        self._tell_rejections()
        if self._rejections.accepted:
            raise ConnectionLost(self._url, "it refuses every product now, though it took some before")
        raise SubscriptionRejected(self._url, nothing.reasons)

    def _tell_rejections(self) -> None:
        if untold := self._rejections.take_untold():
            logger.error("[REJECTED] Coinbase refuses {}", "; ".join(map(str, untold)))

    def _note(self, reasons: dict[str, str], forget: AbstractSet[str] = frozenset()) -> None:
        self._statistics.rejected_products = _updated(self._statistics.rejected_products, reasons, forget)

    def _note_channels(self, reasons: dict[str, str], forget: AbstractSet[str] = frozenset()) -> None:
        self._statistics.rejected_channels = _updated(self._statistics.rejected_channels, reasons, forget)


def _updated(noted: dict[str, str], reasons: dict[str, str], forget: AbstractSet[str]) -> dict[str, str]:
    # A new dictionary each time: other threads read the old one meanwhile.
    return {name: why for name, why in noted.items() if name not in forget} | reasons


def _listed(wanted: Wanted) -> str:
    """`ticker (BTC-USD, ETH-USD), heartbeat (412 products)`."""
    return ", ".join(_described(channel, products) for channel, products in wanted.items())


def _described(channel: str, products: Sequence[str]) -> str:
    if channel in products:
        return channel  # a channel that is no product's
    return f"{channel} ({', '.join(products) if len(products) <= _LISTED else f'{len(products)} products'})"


_LISTED = 5
