"""Asking Coinbase for products, as a state machine: answers and time come in, messages and verdicts come out.

Facts of both feeds that it lives with (https://docs.cdp.coinbase.com/exchange/websocket-feed,
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview, and reports of their users): a subscription must be asked
for within 5 s of connecting; a product or channel that Coinbase does not take voids the whole message; errors name
neither the message they answer nor always the culprit; acknowledgements list all that the connection holds, in any
order, and may come after data; no more than 8 messages a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf

from rxbridge.coinbase.actions import Action, NothingLeft, Send, Settled, Unexplained
from rxbridge.coinbase.answers import Acknowledged, Answer, Pair, Refused
from rxbridge.coinbase.culprits import named_in
from rxbridge.coinbase.planning import Allow, Planner
from rxbridge.coinbase.protocol import FeedProtocol, Verb
from rxbridge.coinbase.rejections import Rejection
from rxbridge.coinbase.wanted import Wanted, by_channel, halves_of, only, pairs_of


@dataclass(slots=True)
class _Request:
    wanted: dict[str, tuple[str, ...]]
    repeated: bool = False
    verb: Verb = "subscribe"


class Subscription:
    """Gets as much of a subscription as Coinbase gives, one message at a time.

    A refusal that names products or channels costs those; one that names none is traced by asking for halves. What an
    acknowledgement lacks after `acknowledge_seconds` is asked for once more, when all else has been, then reported
    missing. Nothing of that concerns the data, which flow meanwhile.

    What is wanted may change at any time. What has come is asked for first, so that the connection always has some
    product; then what an acknowledgement lists that was asked for and is wanted no longer is unsubscribed.

    What is to be renewed counts as wanted no longer until it has ended, and then, being wanted, is asked for again.

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
        allow: Allow | None = None,
    ) -> None:
        """Plan what to ask for.

        Args:
            products: Product ids.
            channels: Channels, named as on the wire; the heartbeat is added.
            protocol: How the feed is spoken to.
            acknowledge_seconds: How long to wait for an answer.
            pause_seconds: The least time between two messages.
            allow: What is worth asking for; see `Planner`.
        """
        self.deadline: float = inf
        self._protocol = protocol
        self._planner = Planner(channels, protocol, allow)
        self._acknowledge_seconds = acknowledge_seconds
        self._pause_seconds = pause_seconds
        self._wanted = self._planner.plan(products)
        self._held: frozenset[Pair] = frozenset()
        self._sent: set[Pair] = set()
        self._unheard: set[Pair] = set()
        self._unheard_of_asked: set[Pair] = set()
        self._given_up: set[Pair] = set()
        self._lingering: set[Pair] = set()
        self._renewed: set[Pair] = set()
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

    def change(self, products: Sequence[str], now: float) -> list[Action]:
        """Other products are wanted from now on."""
        before, self._wanted = pairs_of(self._wanted), self._planner.plan(products)
        wanted = pairs_of(self._wanted)
        self._given_up &= wanted
        self._lingering -= wanted
        self._reasons = {product: reason for product, reason in self._reasons.items() if product in products}
        self._forget_queued()
        if new := only(self._wanted, wanted - before):
            self._enqueue(new)
        if wanted != before:
            self._settled = False
        return self._advance(now)

    def renew(self, channel: str, products: Collection[str], now: float) -> list[Action]:
        """End these products on this channel, and ask for them again, so that it begins with them anew.

        What is not acknowledged yet is passed over, as it is about to begin; what was given up is asked for. Products
        that share their frames with one of these are renewed with it, or it would not end.

        Args:
            channel: Named as on the wire.
            products: Product ids.
            now: The time.
        """
        pairs = self._served({(channel, product) for product in products})
        self._renewed |= pairs & self._served(pairs_of(self._wanted) & self._held)
        self._given_up -= {pair for pair in self._given_up if self._served([pair]) <= pairs}
        return self._advance(now)

    def wanted_on(self, channel: str) -> tuple[str, ...]:
        """The products that are wanted on a channel."""
        return self._wanted.get(channel, ())

    def on_answer(self, answer: Answer, now: float) -> list[Action]:
        """Coinbase said something."""
        if isinstance(answer, Acknowledged):
            return self._on_acknowledged(answer.pairs, now)
        if self._asked is None:
            return [Unexplained(answer)]
        asked, self._asked = self._asked, None
        if answer.is_final:
            self._queue.clear()
            self.deadline = inf
            return [NothingLeft({"everything": answer.reason})]
        if asked.verb == "unsubscribe":
            self._on_kept(asked)
            return self._advance(now)
        # What an earlier message asked for, whose answer never came, may be held all the same.
        self._unheard -= self._unheard_of_asked
        actions = self._on_refused(asked, answer)
        if not self._planner.served(self._wanted):
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
            open_pairs = self._open(asked)
            if not asked.repeated:
                self._enqueue(only(asked.wanted, open_pairs), asked.verb, repeated=True)
            elif asked.verb == "subscribe":
                self._given_up |= open_pairs
            else:
                self._end_in_vain(open_pairs)
        return self._advance(now)

    def _open(self, request: _Request) -> set[Pair]:
        """What of a request is neither acknowledged nor outdated by a change."""
        if request.verb == "subscribe":
            return (pairs_of(request.wanted) & pairs_of(self._wanted)) - self._held
        return pairs_of(request.wanted) & self._surplus()

    def _surplus(self) -> set[Pair]:
        """What we asked for once and want no longer, and what is subscribed of that, or may be for all we heard."""
        # Two products may be one to Coinbase: to give up one of them would cost the other.
        kept = self._served(pairs_of(self._wanted)) - self._renewed
        served_as, present = self._protocol.served_as, (self._sent & self._held) | self._unheard
        return {(channel, product) for channel, product in present if (channel, served_as(product)) not in kept}

    def _served(self, pairs: Collection[Pair]) -> set[Pair]:
        """The same by the ids under which the products come."""
        served_as = self._protocol.served_as
        return {(channel, served_as(product)) for channel, product in pairs}

    def _enqueue(self, wanted: Wanted, verb: Verb = "subscribe", *, repeated: bool = False) -> None:
        """Ask for this when all else has been asked for; for the heartbeat first, where that takes its own message."""
        if not self._protocol.one_channel_a_message:
            self._queue.append(_Request(dict(wanted), repeated, verb))
            return
        for channel in sorted(wanted, key=lambda channel: channel != self._protocol.heartbeat):
            self._queue.append(_Request({channel: wanted[channel]}, repeated, verb))

    def _on_acknowledged(self, pairs: frozenset[Pair], now: float) -> list[Action]:
        self._held = pairs
        # What has ended begins anew by being asked for, like whatever is wanted.
        self._renewed &= self._served(pairs)
        self._unheard.clear()
        if self._asked is not None:
            if self._is_done(self._asked):
                self._asked = None
            else:
                # It may be the answer to an earlier message, which says nothing of the one that is under way.
                self._unheard_of_asked = pairs_of(self._asked.wanted)
                self._unheard |= self._unheard_of_asked
        if self._given_up & pairs or self._lingering - pairs:
            self._given_up -= pairs
            self._lingering &= pairs
            self._settled = False
        return self._advance(now)

    def _is_done(self, request: _Request) -> bool:
        pairs = pairs_of(request.wanted)
        return pairs <= self._held if request.verb == "subscribe" else pairs.isdisjoint(self._held | self._unheard)

    def _on_kept(self, asked: _Request) -> None:
        """Coinbase refuses to unsubscribe something of this, such as a product that it has no more."""
        left = only(asked.wanted, self._open(asked))
        if halves := halves_of(left):
            self._queue.extendleft(_Request(half, asked.repeated, asked.verb) for half in reversed(halves))
        else:
            self._end_in_vain(pairs_of(left))

    def _end_in_vain(self, pairs: set[Pair]) -> None:
        """Unsubscribe these no more. Those that are wanted are asked for, since they may have ended for all we know."""
        self._lingering |= pairs - pairs_of(self._wanted)
        self._renewed -= self._served(pairs)

    def _on_refused(self, asked: _Request, refused: Refused) -> list[Action]:
        left = _Request(only(asked.wanted, pairs_of(self._wanted)), asked.repeated)
        if left.wanted != asked.wanted:
            # It may have been for what is wanted no longer.
            self._queue.extendleft([left] if left.wanted else [])
            return []
        reason = refused.reason or refused.message
        products, channels = named_in(
            f"{refused.message} {refused.reason}",
            asked.wanted,
            self._planner.has_products,
            self._protocol.signed,
        )
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

    def _reject(self, rejections: list[Rejection]) -> list[Action]:
        """Want these no longer, nor a product that no channel is left for."""
        gone = {pair for pair in pairs_of(self._wanted) for rejection in rejections if _concerns(rejection, pair)}
        reason = rejections[0].reason
        before = self._planner.served(self._wanted)
        self._want_without(gone)
        served = self._planner.served(self._wanted)
        lost = [product for product in before if product not in served]
        self._reasons |= dict.fromkeys(lost, reason)
        self._want_without({(channel, product) for channel in self._wanted for product in lost})
        told = {rejection.product for rejection in rejections if rejection.channel is None}
        whole = [Rejection(None, product, reason) for product in lost if product not in told]
        return [*rejections, *whole]

    def _want_without(self, gone: set[Pair]) -> None:
        self._wanted = only(self._wanted, pairs_of(self._wanted) - gone)
        self._forget_queued()

    def _forget_queued(self) -> None:
        """Ask for nothing that is wanted no longer. What is to be unsubscribed is gathered anew in the end."""
        left = pairs_of(self._wanted)
        self._renewed &= self._served(left)
        queued = [request for request in self._queue if request.verb == "subscribe"]
        self._queue = deque(
            _Request(wanted, request.repeated) for request in queued if (wanted := only(request.wanted, left))
        )

    def _gather(self) -> None:
        """Queue what is still to be done, when nothing else is."""
        if lost := pairs_of(self._wanted) - self._held - self._given_up:
            self._enqueue(only(self._wanted, lost))
        elif surplus := self._surplus() - self._lingering:
            self._enqueue(by_channel(surplus), "unsubscribe")

    def _advance(self, now: float) -> list[Action]:
        """Send the next message if its time has come; settle if there is none."""
        if self._asked is not None:
            self.deadline = self._waiting_since + self._acknowledge_seconds
            return []
        self._drop_done()
        if not self._queue:
            self._gather()
        if self._queue:
            self._settled = False
            self.deadline = self._sent_at + self._pause_seconds
            if now < self.deadline:
                return []
            self._asked = self._queue.popleft()
            self._sent_at = self._waiting_since = now
            self.deadline = now + self._acknowledge_seconds
            pairs = pairs_of(self._asked.wanted)
            self._unheard_of_asked = pairs - self._unheard
            self._unheard |= pairs
            if self._asked.verb == "subscribe":
                self._sent |= pairs
            else:
                self._held -= pairs
            return [Send(self._asked.wanted, self._asked.repeated, self._asked.verb)]
        self.deadline = inf
        if self._settled:
            return []
        self._settled = True
        wanted = pairs_of(self._wanted)
        confirmed, missing = only(self._wanted, wanted & self._held), only(self._wanted, wanted - self._held)
        return [Settled(confirmed, missing, by_channel(self._lingering))]

    def _drop_done(self) -> None:
        """Leave out what has come, or gone, without having been asked for."""
        while self._queue and self._is_done(self._queue[0]):
            self._queue.popleft()


def _concerns(rejection: Rejection, pair: Pair) -> bool:
    return rejection.channel in (None, pair[0]) and rejection.product in (None, pair[1])
