"""Follows the frames of the journal: which trades are there, and what a disconnect has cost. Does no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rxbridge.backfill.state import State, at_rest, awake
from rxbridge.backfill.tracker import Tracker
from rxbridge.coinbase.exchange import decode
from rxbridge.errors import MalformedFrame
from rxbridge.events.cleaning import whole
from rxbridge.messages import OWN_CONNECTION, Frame, Heartbeat, Match, Message, Ticker, Unknown

_TYPES: dict[str, tuple[str, ...]] = {
    "ticker": ("ticker",),
    "ticker_batch": ("ticker",),
    "level2": ("snapshot", "l2update"),
    "level2_batch": ("snapshot", "l2update"),
}
"""What a channel sends, where that has another name."""

_BOOKS = (b'{"type":"l2update"', b'{"type":"snapshot"')
"""Frames that say nothing of trades, and may be megabytes long."""


class Silence(NamedTuple):
    """A channel brought nothing from `first` to `last`, in nanoseconds since the epoch, because of a disconnect."""

    channel: str
    first: int
    last: int


class Follower:
    """All that the frames up to `offset` say.

    Args:
        state: Where to go on.
        products: Whose trades to follow; none, if the feed is not subscribed to them.
        channels: Channels whose data are lost while there is no connection.
        grace_seconds: How long a trade may be late before it counts as missing.

    Attributes:
        offset: The last frame that was followed.
        trackers: By product.
    """

    def __init__(self, state: State, *, products: Sequence[str], channels: Sequence[str], grace_seconds: float) -> None:
        self.offset = state.offset
        self.trackers = awake(state.products)
        for product in products:
            self.trackers.setdefault(product, Tracker())
        self._silences: list[Silence] = []
        self._channels = channels
        self._grace_seconds = grace_seconds
        self._connection = state.connection
        self._last_at = state.last_at
        self._quiet = dict(state.quiet)
        self._quoted_to = state.quoted_to

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
            quiet=dict(self._quiet),
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
            message = self._message(frame)
            if message is not None:
                self._follow_trade(message, due_at)
                if is_new and self._quiet:
                    self._hear(message)
            self.offset = frame.offset
            self._quoted_to = max(self._quoted_to, frame.offset)

    def _message(self, frame: Frame) -> Message | None:
        if not self._quiet and frame.data.startswith(_BOOKS):
            return None
        try:
            (message,) = decode(frame)
        except MalformedFrame:
            # Delivery makes a dead letter of it; whatever trade it held is missed by its id.
            return None
        return message

    def _follow_trade(self, message: Message, due_at: float) -> None:
        if not isinstance(message, (Match, Heartbeat, Ticker)):
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
        (tracker.see if isinstance(message, Match) else tracker.expect)(trade_id, due_at)

    def _follow_connection(self, frame: Frame) -> None:
        if frame.connection != self._connection:
            if self._connection:
                for channel in self._channels:
                    # One that was silent before already has been so for longer.
                    self._quiet.setdefault(channel, self._last_at)
            self._connection = frame.connection
        self._last_at = frame.received_at

    def _hear(self, message: Message) -> None:
        """End the silence of the channels that this message came by."""
        frame = message.frame
        if frame.connection != self._connection or frame.connection == OWN_CONNECTION:
            return
        name = message.type if isinstance(message, Unknown) else _NAMES.get(type(message), "")
        for channel in list(self._quiet):
            if name in _TYPES.get(channel, (channel,)):
                first = self._quiet.pop(channel)
                # A clock that was set back meanwhile does not make a silence end before it has begun.
                self._silences.append(Silence(channel, first, max(first, frame.received_at)))


_NAMES: dict[type[Message], str] = {Ticker: "ticker", Heartbeat: "heartbeat"}
"""The wire names of messages that are not `Unknown`, as far as a channel of them cannot be replayed."""
