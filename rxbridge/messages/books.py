"""Order books: what the feeds send of them, and the images that are made of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from rxbridge import levels
from rxbridge.messages.frames import NO_LEVELS, UPDATES_FIELD, MessageBase


class BookSnapshot(MessageBase, frozen=True, gc=False, tag="snapshot"):
    """A whole order book, whose levels stay as they came until somebody asks for them: there may be 46,000.

    Attributes:
        bids_data: JSON of the bids, on the Exchange feed.
        asks_data: Likewise, of the asks.
        updates_data: JSON of both, on Advanced Trade.
    """

    product_id: str | None = None
    time: str | None = None
    bids_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name="bids")
    asks_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name="asks")
    updates_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name=UPDATES_FIELD)

    @property
    def bids(self) -> Sequence[tuple[str, str]]:
        """Levels of (price, size), decimal text, in any order.

        Raises:
            ValueError: They are not there, out of shape, or more than `levels.MOST_LEVELS`.
        """
        return levels.pairs(self.bids_data) if self.part.feed == "exchange" else self._of_side("bid")

    @property
    def asks(self) -> Sequence[tuple[str, str]]:
        """Likewise."""
        return levels.pairs(self.asks_data) if self.part.feed == "exchange" else self._of_side("offer")

    def _of_side(self, side: str) -> list[tuple[str, str]]:
        return [(one.price_level, one.new_quantity) for one in levels.advanced(self.updates_data) if one.side == side]


class BookUpdate(MessageBase, frozen=True, gc=False, tag="l2update"):
    """What has changed in an order book since its snapshot.

    Attributes:
        changes_data: JSON of the changes, on the Exchange feed.
        updates_data: Likewise, on Advanced Trade.
    """

    product_id: str | None = None
    time: str | None = None
    changes_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name="changes")
    updates_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name=UPDATES_FIELD)

    @property
    def changes(self) -> Sequence[tuple[str, str, str]]:
        """Levels of (side, price, size): a size is absolute, and zero removes the level; sides as the feed says them.

        Raises:
            ValueError: They are not there, out of shape, or more than `levels.MOST_LEVELS`.
        """
        if self.part.feed == "exchange":
            return levels.changes(self.changes_data)
        return [(level.side, level.price_level, level.new_quantity) for level in levels.advanced(self.updates_data)]


class BookImage(MessageBase, frozen=True, gc=False, tag="rxbridge_book"):
    """The best levels of a book at one moment; made by rxbridge, of the messages of the feed.

    Its frame is the one by which the moment was known to be over.

    Attributes:
        bids: The highest, best first: price and size, as Coinbase wrote them.
        asks: The lowest, likewise.
        at: When the newest frame was received that counts: nanoseconds since the Unix epoch.
        is_reset: Whether the book was begun anew since the image before: in between, anything may have happened.
        is_crossed: Whether a bid is as high as an ask, which says that the book is wrong.
    """

    product_id: str
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    at: int
    is_reset: bool = False
    is_crossed: bool = False


class BookPart(MessageBase, frozen=True, gc=False, kw_only=True, tag="rxbridge_book_part"):
    """A part of what Coinbase sent of a book, no larger than an event may be; made by rxbridge.

    Attributes:
        kind: Whether the levels are all there are, or those that have changed: a size is absolute, and zero removes.
        message: Which of the messages of the frame it is a part of.
        chunk: Which part, from 0.
        chunks: How many there are.
        bids: Price and size, as Coinbase wrote them, in its order.
        asks: Likewise.
        levels: On the last part: how many levels all parts have.
        checksum: On the last part: of the levels of all parts; see `rxbridge.events.rebuilding.checksum`.
    """

    product_id: str
    kind: Literal["snapshot", "update"]
    message: int
    chunk: int
    chunks: int
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    time: str | None = None
    levels: int | None = None
    checksum: str | None = None
