"""Carries out what the subscription's state machine decides: sends, logs, remembers, counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from loguru import logger

from rxbridge.coinbase.actions import Action, NothingLeft, Send, Settled, Unexplained
from rxbridge.coinbase.answers import Answer
from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.rejections import Rejection, Rejections
from rxbridge.coinbase.subscription import Subscription
from rxbridge.coinbase.wanted import Wanted
from rxbridge.errors import ConnectionLost, SubscriptionRejected, quoted
from rxbridge.telemetry.statistics import FeedStatistics


class Negotiation:
    """The subscription of one connection to some products, which may change.

    `start`, `change`, `on_answer` and `on_time` may raise what `send` raises, and:
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
        statistics: FeedStatistics,
    ) -> None:
        self._subscription = subscription
        self._send = send
        self._url = url
        self._protocol = protocol
        self._rejections = rejections
        self._statistics = statistics
        self._introduced: set[str] = set()
        self._forget_all_but(products)

    @property
    def deadline(self) -> float:
        """When to call `on_time` next."""
        return self._subscription.deadline

    def start(self, now: float) -> None:
        """Ask for everything."""
        self._perform(self._subscription.start(now))

    def change(self, products: Sequence[str], now: float) -> None:
        """Other products are wanted from now on."""
        self._rejections.forget_all_but(products)
        self._forget_all_but(products)
        self._perform(self._subscription.change(products, now))

    def on_answer(self, answer: Answer, now: float) -> None:
        """Coinbase answered."""
        self._perform(self._subscription.on_answer(answer, now))

    def on_time(self, now: float, *, is_receiving: bool) -> None:
        """The deadline came; something large may be coming in meanwhile."""
        self._perform(self._subscription.on_time(now, is_receiving=is_receiving))

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
        else:
            logger.success("[OK] Subscription confirmed: {}", _listed(settled.confirmed))

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
