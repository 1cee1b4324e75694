"""Follows the frames of the journal: which trades are there, and what a disconnect has cost. Does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rxbridge.backfill.state import State, at_rest, awake
from rxbridge.backfill.tracker import Tracker
from rxbridge.channels import known_as
from rxbridge.coinbase.advanced.sequence import follow_numbers, sequence_num
from rxbridge.coinbase.decoding import decode
from rxbridge.errors import MalformedFrame
from rxbridge.events.cleaning import whole
from rxbridge.messages import (
    OWN_CONNECTION,
    BookSnapshot,
    BookUpdate,
    Frame,
    Heartbeat,
    Message,
    Subscriptions,
    Ticker,
    Trade,
)

_CHANNELS_OF: dict[type[Message], tuple[str, ...]] = {
    Ticker: ("ticker", "ticker_batch"),
    BookSnapshot: ("level2",),
    BookUpdate: ("level2",),
}
"""Where messages come from of which those that are missed cannot be fetched."""

UNREPLAYABLE = frozenset(channel for channels in _CHANNELS_OF.values() for channel in channels)
"""All of these channels."""


_BOOKS = (b'{"type":"l2update"', b'{"type":"snapshot"', b'{"channel":"l2_data"')
"""Frames that say nothing of trades, and may be megabytes long."""


class Silence(NamedTuple):
    """A channel brought nothing, or not all, of some products from `first` to `last`: nanoseconds since the Unix epoch.

    After a disconnect a product's silence ends when Coinbase acknowledges its subscription, or sends something of it,
    whichever comes first: one that is refused after a disconnect has a silence of its own. Within a connection it lies
    between two frames of Advanced Trade, where their numbers say that `lost_frames` were lost in between.
    """

    channel: str
    products: tuple[str, ...]
    first: int
    last: int
    lost_frames: int = 0


class Follower:
    """All that the frames up to `offset` say.

    Args:
        state: Where to go on.
        products: Whose trades to follow; none, if the feed is not subscribed to them.
        channels: Channels whose data are lost while there is no connection.
        quoted: The products of those channels.
        grace_seconds: How long a trade may be late before it counts as missing.

    Attributes:
        offset: The last frame that was followed.
        trackers: By product.
        suspects: Products of which trades may be missing that no newer one has betrayed yet, each with the offset of
            the frame by which that is known.
    """

    def __init__(
        self,
        state: State,
        *,
        products: Sequence[str],
        channels: Sequence[str],
        quoted: Sequence[str],
        grace_seconds: float,
    ) -> None:
        self.offset = state.offset
        self.trackers = awake(state.products)
        self._followed: frozenset[str] = frozenset()
        self.add_products(products)
        self._silences: list[Silence] = []
        self._channels = channels
        self._quoted = quoted
        self._grace_seconds = grace_seconds
        self._connection = state.connection
        self._last_at = state.last_at
        self._silent = {channel: dict(products) for channel, products in state.silent.items()}
        self._sequence = state.sequence
        self._quoted_to = state.quoted_to
        self.suspects = dict.fromkeys(state.suspects, 0)

    def add_products(self, products: Iterable[str]) -> None:
        """Follow these products' trades as well, each from its first one on, or from where it was left."""
        self._followed = self._followed.union(products)
        for product in self._followed:
            self.trackers.setdefault(product, Tracker())

    def keep_products(self, products: Iterable[str], quoted: Sequence[str], now: int) -> None:
        """From now on these are all; of the others, what is missing stays missing.

        Args:
            products: Whose trades to look for when frames are lost.
            quoted: Of which it costs something if a channel is silent. A silence of any other ends here.
            now: Nanoseconds since the Unix epoch.
        """
        self._followed = frozenset(products)
        gone = set(self._quoted) - set(quoted)
        self._quoted = quoted
        for channel in list(self._silent):
            self._end(channel, gone, now)
            self._take_ended(channel)

    def begin_again(self, trackers: Mapping[str, Tracker], *, offsets_begin_again: bool) -> None:
        """Follow all frames anew, from the first, with these trackers; disconnects that are on record stay so."""
        self.offset = 0
        self.trackers = dict(trackers)
        if offsets_begin_again:
            self._quoted_to = 0

    def state(self) -> State:
        """What is to be remembered."""
        return State(
            offset=self.offset,
            products=at_rest(self.trackers),
            connection=self._connection,
            last_at=self._last_at,
            silent={channel: dict(products) for channel, products in self._silent.items()},
            sequence=self._sequence,
            suspects=sorted(self.suspects),
            quoted_to=self._quoted_to,
        )

    @property
    def missing(self) -> int:
        """How many trades are missing, of all products."""
        return sum([tracker.missing for tracker in self.trackers.values()])

    def take_silences(self) -> list[Silence]:
        """What disconnects have cost, as far as it was not taken yet."""
        silences, self._silences = self._silences, []
        return silences

    def follow(self, frames: Sequence[Frame], now: float) -> None:
        """Take frames, in the order of the journal.

        Args:
            frames: The next ones.
            now: The time, in seconds on a clock that only rises; what is found missing is due after the grace.
        """
        due_at = now + self._grace_seconds
        for frame in frames:
            is_new = frame.offset > self._quoted_to
            if is_new and frame.connection != OWN_CONNECTION:
                self._follow_connection(frame)
            for message in self._messages(frame):
                self._follow_trade(message, due_at)
                if is_new and self._silent:
                    self._hear(message)
            self.offset = frame.offset
            self._quoted_to = max(self._quoted_to, frame.offset)

    def _messages(self, frame: Frame) -> Sequence[Message]:
        if not self._silent and frame.data.startswith(_BOOKS):
            return ()
        try:
            return decode(frame)
        except MalformedFrame:
            # Delivery makes a dead letter of it; whatever trade it held is missed by its id, as soon as a newer one is
            # known. On the Exchange a heartbeat tells of that; those of Advanced Trade name no trade.
            if frame.connection != OWN_CONNECTION and sequence_num(frame.data) is not None:
                self._suspect(frame)
            return ()

    def _follow_trade(self, message: Message, due_at: float) -> None:
        if not isinstance(message, (Trade, Heartbeat, Ticker)):
            return
        tracker = self.trackers.get(message.product_id or "")
        if tracker is None:
            return
        if isinstance(message, Heartbeat):
            # 0 means that it is not known.
            trade_id = whole(message.last_trade_id, minimum=1)
        else:
            trade_id = whole(message.trade_id, minimum=1)
        if trade_id is None:
            return
        # Coinbase's channels overtake each other: what another one tells of may be about to come.
        (tracker.see if isinstance(message, Trade) else tracker.expect)(trade_id, due_at)

    def _follow_connection(self, frame: Frame) -> None:
        if frame.connection != self._connection:
            if self._connection:
                for channel in self._channels:
                    self._take_ended(channel)
                    silent = self._silent.setdefault(channel, {})
                    for product in self._quoted:
                        # One that was silent before already has been so for longer.
                        silent.setdefault(product, (self._last_at, 0))
            self._connection = frame.connection
            self._sequence = -1
        self._follow_sequence(frame)
        self._last_at = frame.received_at

    def _follow_sequence(self, frame: Frame) -> None:
        """Whatever the frames held that were lost, which only their numbers tell."""
        self._sequence, lost = follow_numbers(self._sequence, frame.data)
        if not lost:
            return
        self._suspect(frame)
        first, last = self._last_at, max(self._last_at, frame.received_at)
        for channel in self._channels:
            silent = self._silent.get(channel, {})
            # A silence that has ended may still wait for those of other products.
            products = tuple(product for product in self._quoted if product not in silent or silent[product][1])
            if products and first:
                self._silences.append(Silence(channel, products, first, last, lost))

    def _suspect(self, frame: Frame) -> None:
        """Any product that is followed may have had trades that this frame shows to be lost."""
        self.suspects.update(dict.fromkeys(self._followed, frame.offset))

    def _hear(self, message: Message) -> None:
        """End the silences that this message shows to be over."""
        frame = message.frame
        if frame.connection != self._connection or frame.connection == OWN_CONNECTION:
            return
        if isinstance(message, Subscriptions):
            for acknowledged in message.channels:
                channel = known_as(acknowledged.name)
                self._end(channel, acknowledged.product_ids, frame.received_at)
                self._take_ended(channel)
            return
        for channel in self._silent.keys() & set(_CHANNELS_OF.get(type(message), ())):
            self._end(channel, [_product(message)], frame.received_at)
            if all(last for _, last in self._silent[channel].values()):
                self._take_ended(channel)

    def _end(self, channel: str, products: Iterable[str], now: int) -> None:
        silent = self._silent.get(channel, {})
        for product in silent.keys() & set(products):
            first, last = silent[product]
            # A clock that was set back meanwhile does not make a silence end before it has begun.
            silent[product] = (first, last or max(first, now))

    def _take_ended(self, channel: str) -> None:
        """One silence for all the products that it has ended for, which may do so microseconds apart."""
        silent = self._silent.get(channel, {})
        together: dict[int, list[str]] = {}
        for product in sorted(silent):
            first, last = silent[product]
            if last:
                together.setdefault(first, []).append(product)
        for first, ended in sorted(together.items()):
            last = max([silent.pop(product)[1] for product in ended])
            self._silences.append(Silence(channel, tuple(ended), first, last))
        if not silent:
            self._silent.pop(channel, None)


def _product(message: Message) -> str:
    """Whose quotes a message brings; empty if it does not say."""
    return (message.product_id or "") if isinstance(message, (Ticker, BookSnapshot, BookUpdate)) else ""
