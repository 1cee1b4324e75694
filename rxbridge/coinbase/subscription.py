"""Asking Coinbase for products, as a state machine: answers and time come in, messages and verdicts come out.

Facts of both feeds that it lives with (https://docs.cdp.coinbase.com/exchange/websocket-feed,
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview, and reports of their users): a subscription must be asked
for within 5 s of connecting; a product or channel that Coinbase does not take voids the whole message; errors name
neither the message they answer nor always the culprit; acknowledgements list all that the connection holds, in any
order, and may come after data; no more than 8 messages a second.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from rxbridge.coinbase.answers import Acknowledged, Answer, Pair, Refused
from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.rejections import Rejection
from rxbridge.coinbase.wanted import Wanted, halves_of, only, pairs_of, products_of


@dataclass(frozen=True, slots=True)
class Send:
    """To do: ask for this, in one message."""

    wanted: Wanted
    repeated: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """Every message was answered or given up; `missing` is what was asked for twice and is not acknowledged."""

    confirmed: Wanted
    missing: Wanted


@dataclass(frozen=True, slots=True)
class Unexplained:
    """An error came that answers nothing we asked."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """Every product was refused; `reasons` says why, by product."""

    reasons: dict[str, str]


Action: TypeAlias = Send | Rejection | Settled | Unexplained | NothingLeft


@dataclass(slots=True)
class _Request:
    wanted: dict[str, tuple[str, ...]]
    repeated: bool = False


class Subscription:
    """Gets as much of a subscription as Coinbase gives, one message at a time.

    A refusal that names products or channels costs those; one that names none is traced by asking for halves. What an
    acknowledgement lacks after `acknowledge_seconds` is asked for once more, when all else has been, then reported
    missing. Nothing of that concerns the data, which flow meanwhile.

    Attributes:
        deadline: When to call `on_time` next, on the clock of the `now` arguments; infinity if there is nothing to
            wait for.
    """

    def __init__(
        self,
        products: Sequence[str],
        channels: Sequence[str],
        *,
        protocol: FeedProtocol,
        acknowledge_seconds: float,
        pause_seconds: float = 0.2,
        allow: Callable[[str, str], bool] | None = None,
    ) -> None:
        """Plan what to ask for.

        Args:
            products: Product ids.
            channels: Channels, named as on the wire; the heartbeat is added, for without it a quiet product looks like
                a dead feed.
            protocol: How the feed is spoken to.
            acknowledge_seconds: How long to wait for an answer.
            pause_seconds: The least time between two messages.
            allow: Whether a product is worth asking for on a channel. Where nothing is, everything is asked for,
                and so it is without this.
        """
        self.deadline = inf
        self._protocol = protocol
        self._channels = tuple(dict.fromkeys(channels))
        # A heartbeat that is not a product's serves none, unless nothing else was asked for.
        self._serving = tuple(filter(self._has_products, self._channels)) or self._channels
        self._acknowledge_seconds = acknowledge_seconds
        self._pause_seconds = pause_seconds
        self._wanted = self._plan(tuple(dict.fromkeys(products)), allow or _everything)
        self._held: frozenset[Pair] = frozenset()
        self._given_up: set[Pair] = set()
        self._reasons: dict[str, str] = {}
        self._queue: deque[_Request] = deque()
        self._enqueue(self._wanted)
        self._asked: _Request | None = None
        self._sent_at = -inf
        self._waiting_since = -inf
        self._settled = False

    def start(self, now: float) -> list[Action]:
        """The first message."""
        return self._advance(now)

    def on_answer(self, answer: Answer, now: float) -> list[Action]:
        """Coinbase said something."""
        if isinstance(answer, Acknowledged):
            return self._on_acknowledged(answer.pairs, now)
        if self._asked is None:
            return [Unexplained(answer)]
        asked, self._asked = self._asked, None
        actions = self._on_refused(asked, answer)
        if not self._served():
            self._queue.clear()
            self.deadline = inf
            return [*actions, NothingLeft(self._reasons)]
        return [*actions, *self._advance(now)]

    def on_time(self, now: float, *, is_receiving: bool = False) -> list[Action]:
        """The deadline came.

        Args:
            now: The time.
            is_receiving: Whether something large is coming in meanwhile. Advanced Trade acknowledges a channel after
                its snapshots, which may be hundreds of megabytes: to ask again would be to get them again.
        """
        if self._asked is not None and is_receiving:
            self._waiting_since = now
        if self._asked is not None and now >= self._waiting_since + self._acknowledge_seconds:
            asked, self._asked = self._asked, None
            missing = pairs_of(asked.wanted) - self._held
            if not asked.repeated:
                self._enqueue(only(asked.wanted, missing), repeated=True)
            else:
                self._given_up |= missing
        return self._advance(now)

    def _plan(self, products: tuple[str, ...], allow: Callable[[str, str], bool]) -> dict[str, tuple[str, ...]]:
        wanted = self._worth(products, allow)
        if not any(channel in wanted for channel in self._serving):
            allow = _everything
            wanted = self._worth(products, allow)
        heartbeat = self._protocol.heartbeat
        if heartbeat not in self._channels and (beating := self._allowed(heartbeat, products_of(wanted), allow)):
            wanted[heartbeat] = beating
        return wanted

    def _worth(self, products: tuple[str, ...], allow: Callable[[str, str], bool]) -> dict[str, tuple[str, ...]]:
        worth = {channel: self._allowed(channel, products, allow) for channel in self._channels}
        return {channel: allowed for channel, allowed in worth.items() if allowed}

    def _allowed(self, channel: str, products: Sequence[str], allow: Callable[[str, str], bool]) -> tuple[str, ...]:
        """What of a channel is worth asking for."""
        asked = products if self._has_products(channel) else (channel,)
        return tuple(product for product in asked if allow(channel, product))

    def _has_products(self, channel: str) -> bool:
        return self._protocol.heartbeat_has_products or channel != self._protocol.heartbeat

    def _enqueue(self, wanted: Wanted, *, repeated: bool = False) -> None:
        """Ask for this when all else has been asked for; for the heartbeat first, where that takes its own message."""
        if not self._protocol.one_channel_a_message:
            self._queue.append(_Request(dict(wanted), repeated))
            return
        for channel in sorted(wanted, key=lambda channel: channel != self._protocol.heartbeat):
            self._queue.append(_Request({channel: wanted[channel]}, repeated))

    def _on_acknowledged(self, pairs: frozenset[Pair], now: float) -> list[Action]:
        self._held = pairs
        if self._asked is not None and pairs_of(self._asked.wanted) <= pairs:
            self._asked = None
        if self._given_up & pairs:
            self._given_up -= pairs
            self._settled = False
        lost = pairs_of(self._wanted) - pairs - self._given_up
        if self._settled and lost:
            self._settled = False
            self._enqueue(only(self._wanted, lost))
        return self._advance(now)

    def _on_refused(self, asked: _Request, refused: Refused) -> list[Action]:
        reason = refused.reason or refused.message
        products, channels = self._named(asked.wanted, f"{refused.message} {refused.reason}")
        if products:
            rejections = [Rejection(None, product, reason) for product in products]
        elif channels:
            rejections = [Rejection(channel, None, reason) for channel in channels]
        elif halves := halves_of(asked.wanted):
            self._queue.extendleft(_Request(half) for half in reversed(halves))
            return []
        else:
            ((channel, (product,)),) = asked.wanted.items()
            rejections = [Rejection(channel, product, reason)]
        self._queue.appendleft(asked)
        return self._reject(rejections)

    def _named(self, wanted: Wanted, text: str) -> tuple[list[str], list[str]]:
        """The products and the channels that a refusal of these speaks of."""
        named = {word.rstrip(".") for word in re.findall(r"[\w.-]+", text)}
        # A channel's name may be an everyday word, so it counts only where the text speaks of channels. Where a key is
        # wanted, that is for a channel, which need not be named if there is only one.
        speaks_of_a_key = re.search(r"auth", text, re.IGNORECASE)
        speaks_of_channels = speaks_of_a_key or re.search(r"channel", text, re.IGNORECASE)
        channels = [channel for channel in wanted if channel in named and speaks_of_channels]
        if len(wanted) == 1 and (speaks_of_a_key or not any(map(self._has_products, wanted))):
            channels = list(wanted)
        products = [product for product in products_of(wanted) if product in named and product not in channels]
        return products, channels

    def _reject(self, rejections: list[Rejection]) -> list[Action]:
        """Want these no longer, nor a product that no channel is left for."""
        gone = {pair for pair in pairs_of(self._wanted) for rejection in rejections if _concerns(rejection, pair)}
        reason = rejections[0].reason
        before = self._served()
        self._want_without(gone)
        served = self._served()
        lost = [product for product in before if product not in served]
        self._reasons |= dict.fromkeys(lost, reason)
        self._want_without({(channel, product) for channel in self._wanted for product in lost})
        told = {rejection.product for rejection in rejections if rejection.channel is None}
        whole = [Rejection(None, product, reason) for product in lost if product not in told]
        return [*rejections, *whole]

    def _served(self) -> list[str]:
        """The products that are wanted on any channel that somebody asked for."""
        return products_of({channel: self._wanted.get(channel, ()) for channel in self._serving})

    def _want_without(self, gone: set[Pair]) -> None:
        self._wanted = only(self._wanted, pairs_of(self._wanted) - gone)
        left = pairs_of(self._wanted)
        self._queue = deque(
            _Request(wanted, request.repeated) for request in self._queue if (wanted := only(request.wanted, left))
        )

    def _advance(self, now: float) -> list[Action]:
        """Send the next message if its time has come; settle if there is none."""
        if self._asked is not None:
            self.deadline = self._waiting_since + self._acknowledge_seconds
            return []
        while self._queue and pairs_of(self._queue[0].wanted) <= self._held:
            self._queue.popleft()
        if self._queue:
            self.deadline = self._sent_at + self._pause_seconds
            if now < self.deadline:
                return []
            self._asked = self._queue.popleft()
            self._sent_at = self._waiting_since = now
            self.deadline = now + self._acknowledge_seconds
            return [Send(self._asked.wanted, self._asked.repeated)]
        self.deadline = inf
        if self._settled:
            return []
        self._settled = True
        wanted = pairs_of(self._wanted)
        return [Settled(only(self._wanted, wanted & self._held), only(self._wanted, wanted - self._held))]


def _everything(_channel: str, _product: str) -> bool:
    return True


def _concerns(rejection: Rejection, pair: Pair) -> bool:
    return rejection.channel in (None, pair[0]) and rejection.product in (None, pair[1])
