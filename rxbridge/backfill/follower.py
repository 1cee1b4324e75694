"""Follows the frames of the journal: which trades are there, and what a disconnect has cost. Does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rxbridge.backfill.coverage import Coverage
from rxbridge.backfill.coverage_state import Line
from rxbridge.backfill.in_force import Wishes, asked_for, found_in_force
from rxbridge.backfill.order_numbers import OrderNumbers
from rxbridge.backfill.silences import Silence
from rxbridge.backfill.spoilt import SpoiltBooks, is_usable
from rxbridge.backfill.state import State, at_rest, awake
from rxbridge.backfill.tracker import Tracker
from rxbridge.channels import known_as
from rxbridge.coinbase.advanced.sequence import follow_numbers, sequence_num
from rxbridge.coinbase.decoding import decode, is_of_no_book
from rxbridge.errors import MalformedFrame
from rxbridge.events.cleaning import whole
from rxbridge.messages import (
    OWN_CONNECTION,
    Auction,
    BookSnapshot,
    BookUpdate,
    Frame,
    Heartbeat,
    LastTrade,
    Message,
    Order,
    OrderActivate,
    OrderChange,
    OrderDone,
    OrderOpen,
    OrderReceived,
    Subscriptions,
    Ticker,
    Trade,
)

_ORDERS = "full"

_CHANNELS_OF: dict[type[Message], tuple[str, ...]] = {
    Ticker: ("ticker", "ticker_batch"),
    BookSnapshot: ("level2",),
    BookUpdate: ("level2",),
    Auction: ("auctionfeed",),
    **dict.fromkeys((OrderReceived, OrderOpen, OrderDone, OrderChange, OrderActivate), (_ORDERS,)),
}
"""Where messages come from of which those that are missed cannot be fetched."""

UNREPLAYABLE = frozenset(channel for channels in _CHANNELS_OF.values() for channel in channels)
"""All of these channels."""


_BOOKS = (b'{"type":"l2update"', b'{"type":"snapshot"', b'{"channel":"l2_data"')
"""Frames that say nothing of trades, and may be megabytes long."""


class Follower:
    """All that the frames up to `offset` say.

    Args:
        state: Where to go on.
        products: Whose trades to follow; none, if the feed is not subscribed to them.
        channels: Channels whose data are lost while there is no connection.
        quoted: The products of those channels.
        grace_seconds: How long a trade may be late before it counts as missing.
        starts_after: The last frame that was there when this run began, up to which holds what the run before asked
            for. None: the state is of this run.

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
        starts_after: int | None = None,
    ) -> None:
        asked = asked_for(products, channels, quoted)
        before = state.in_force or found_in_force(state.coverage, asked)
        self._wishes = Wishes(before, state.to_come, asked, starts_after)
        self.offset: int = state.offset
        self.trackers: dict[str, Tracker] = awake(state.products)
        self._followed: frozenset[str] = frozenset()
        self._coverage = Coverage(state.coverage, before.channels, before.quoted)
        self._follow_wishes()
        self._grace_seconds = grace_seconds
        self._quoted_to = state.quoted_to
        self._spoilt = SpoiltBooks(state.spoilt)
        self._before = 0  # when the frame before was received, of the same connection
        self._line: Line | None = None  # of the frame that is followed
        self.suspects: dict[str, int] = dict.fromkeys(state.suspects, 0)

    @property
    def followed(self) -> frozenset[str]:
        """Whose trades are followed. What is known of any other stands still, but for trades that come all the same."""
        return self._followed

    def add_products(self, products: Iterable[str], quoted: Sequence[str]) -> None:
        """Follow these products' trades as well, each from its first one on, or from where it was left.

        Args:
            products: Whose trades.
            quoted: Of which anything may be heard from now on, while its silence costs nothing yet.
        """
        self._followed = self._followed.union(products)
        self._track()
        self._coverage.expect_products(quoted)

    def keep_products(self, products: Iterable[str], quoted: Sequence[str], now: int) -> None:
        """From now on these are all; of the others, what is missing stays missing.

        Args:
            products: Whose trades to look for when frames are lost.
            quoted: Of which it costs something if a channel is silent. A silence of any other ends here.
            now: Nanoseconds since the Unix epoch.
        """
        if self._wishes.change(products, quoted):
            self._coverage.keep_products(quoted, now)
        self._follow_wishes()

    def begin_again(self, trackers: Mapping[str, Tracker], *, offsets_begin_again: bool) -> None:
        """Follow all frames anew, from the first, with these trackers; disconnects that are on record stay so."""
        self.offset = 0
        self.trackers = dict(trackers)
        if offsets_begin_again:
            self._quoted_to = 0
            self._wishes.forget_offsets()

    def state(self) -> State:
        """What is to be remembered."""
        return State(
            offset=self.offset,
            products=at_rest(self.trackers),
            coverage=self._coverage.state,
            spoilt=self._spoilt.state,
            suspects=sorted(self.suspects),
            quoted_to=self._quoted_to,
            in_force=self._wishes.in_force,
            to_come=self._wishes.to_come,
        )

    @property
    def missing(self) -> int:
        """How many trades are missing, of all products."""
        return sum([tracker.missing for tracker in self.trackers.values()])

    def take_silences(self) -> list[Silence]:
        """What disconnects have cost, as far as it was not taken yet."""
        return self._coverage.take_silences()

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
            for message in self._messages(frame, is_new=is_new):
                self._follow_trade(message, due_at)
                if is_new:
                    self._hear(message)
            self.offset = frame.offset
            self._quoted_to = max(self._quoted_to, frame.offset)

    def _messages(self, frame: Frame, *, is_new: bool) -> Sequence[Message]:
        if frame.data.startswith(_BOOKS) and not (is_new and self._has_books):
            return ()
        try:
            return decode(frame)
        except MalformedFrame:
            if is_new and frame.connection != OWN_CONNECTION and not is_of_no_book(frame.data):
                self._spoil(frame, "")
            # Delivery makes a dead letter of it; whatever trade it held is missed by its id, as soon as a newer one is
            # known. On the Exchange a heartbeat tells of that; those of Advanced Trade name no trade.
            if frame.connection != OWN_CONNECTION and sequence_num(frame.data) is not None:
                self._suspect(frame)
            return ()

    def _follow_trade(self, message: Message, due_at: float) -> None:
        if not isinstance(message, (Trade, Heartbeat, Ticker)):
            return
        tracker = self.trackers.get(message.product_id or "")
        if tracker is None or not (isinstance(message, Trade) or message.product_id in self._followed):
            # What was traded while nobody asked for it is missing when somebody does again, and not before.
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

    def _spoil(self, frame: Frame, product: str) -> None:
        """The book of a product cannot be followed any more, after the frame before; that of none, if none is named."""
        connection = frame.connection
        self._spoilt.add(connection, self._coverage.spoil(connection, "level2", product, self._before))

    def _is_followed(self, message: BookSnapshot | BookUpdate, product: str) -> bool:
        """Whether a book is known after this message."""
        if not is_usable(message):
            self._spoil(message.frame, product)
            return False
        if isinstance(message, BookSnapshot):
            self._spoilt.begin(message.frame.connection, product)
        return not self._spoilt.waits(message.frame.connection, product)

    def _follow_wishes(self) -> None:
        self._followed = self._wishes.all_followed
        self._track()
        self._has_books = "level2" in self._wishes.in_force.channels

    def _track(self) -> None:
        for product in self._followed:
            self.trackers.setdefault(product, Tracker())

    def _follow_connection(self, frame: Frame) -> None:
        if self._wishes.starts(frame.offset):
            wish = self._wishes.in_force
            self._coverage.start_anew(wish.channels, wish.quoted, frame.received_at)
            self._follow_wishes()
        line = self._line = self._coverage.follow(frame.connection, frame.received_at)
        self._before = line.last_at
        self._spoilt.forget_before(frame.connection)
        # Whatever the frames held that were lost, which only their numbers tell.
        line.sequence, lost = follow_numbers(line.sequence, frame.data)
        if lost:
            self._suspect(frame)
            self._coverage.lose(line, frame.received_at, lost)
        # What the journal had no room for has no offset, but a place on its connection.
        if self._has_books and 0 <= line.index < frame.index - 1:
            self._spoil(frame, "")
        line.index = frame.index
        line.last_at = frame.received_at

    def _follow_numbers(self, message: Order | Trade, line: Line | None, product: str) -> None:
        """Of `full`, which numbers its orders and trades together: whether messages were lost."""
        number = whole(message.sequence, minimum=0)
        if line is None or number is None or isinstance(message, LastTrade):
            return
        numbers = line.orders.get(product)
        if isinstance(message, Trade):
            if numbers is not None:
                numbers.see_trade(number)
            return
        frame = message.frame
        if not self._coverage.brings(frame.connection, _ORDERS, product):
            # One that was unsubscribed meanwhile begins anew.
            self._coverage.hear(frame.connection, _ORDERS, [product], frame.received_at)
            numbers = None
        if numbers is None:
            if self._coverage.brings(frame.connection, _ORDERS, product):
                line.orders[product] = OrderNumbers(number, frame.received_at)
            return
        before = numbers.at
        if lost := numbers.follow(number, frame.received_at):
            self._coverage.spoil(frame.connection, _ORDERS, product, before, lost)
            if product in self._followed:
                self.suspects[product] = frame.offset

    def _suspect(self, frame: Frame) -> None:
        """Any product that is followed may have had trades that this frame shows to be lost."""
        self.suspects.update(dict.fromkeys(self._followed, frame.offset))

    def _hear(self, message: Message) -> None:
        """What this message shows to be brought by its connection."""
        frame = message.frame
        if frame.connection == OWN_CONNECTION:
            return
        if isinstance(message, Subscriptions):
            for acknowledged in message.channels:
                channel, products = known_as(acknowledged.name), acknowledged.product_ids
                if channel == "level2":
                    products = [one for one in products if not self._spoilt.waits(frame.connection, one)]
                self._coverage.hear(frame.connection, channel, products, frame.received_at, settled=True)
            return
        if isinstance(message, (BookSnapshot, BookUpdate)) and not self._is_followed(message, message.product_id or ""):
            return
        if isinstance(message, (Order, Trade)):
            self._follow_numbers(message, self._line, message.product_id or "")
        if isinstance(message, (Ticker, BookSnapshot, BookUpdate, Auction, Order)) and (product := message.product_id):
            for channel in _CHANNELS_OF[type(message)]:
                if not self._coverage.brings(frame.connection, channel, product):
                    self._coverage.hear(frame.connection, channel, [product], frame.received_at)
