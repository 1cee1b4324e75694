"""What goes into the books of `order_books`, and what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import zip_longest
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from operators.order_book import Level


class SnapshotMessage(Protocol):
    """A whole book; known by its `bids`."""

    @property
    def product_id(self) -> str:
        """Whose book."""
        ...

    @property
    def bids(self) -> Iterable[Sequence[str]]:
        """Levels of (price, size), decimal text, in any order."""
        ...

    @property
    def asks(self) -> Iterable[Sequence[str]]:
        """Likewise."""
        ...


class UpdateMessage(Protocol):
    """What has changed in a book; known by its `changes`."""

    @property
    def product_id(self) -> str:
        """Whose book."""
        ...

    @property
    def changes(self) -> Iterable[Sequence[str]]:
        """Levels of (side, price, size); a size is absolute, and zero removes the level."""
        ...


class ResetMessage(Protocol):
    """A book can no longer be trusted, after a disconnect or a jump of a sequence; known by its `reset_reason`."""

    @property
    def product_id(self) -> str | None:
        """Whose book; None for all."""
        ...

    @property
    def reset_reason(self) -> str:
        """Why, in words."""
        ...


BookMessage: TypeAlias = SnapshotMessage | UpdateMessage | ResetMessage

M = TypeVar("M", bound=BookMessage)
# What has this parameter has no slots: with them, a frozen dataclass cannot be made as `BookView[Message](...)`.
M_co = TypeVar("M_co", bound=BookMessage, covariant=True)


@dataclass(frozen=True, slots=True)
class BookReset:
    """A ResetMessage for those who have none of their own."""

    product_id: str | None = None
    reset_reason: str = ""


@dataclass(frozen=True)
class BookView(Generic[M_co]):
    """A book as it was at one moment.

    Attributes:
        product: Whose.
        bids: The highest bids, best first; no more than were asked for.
        asks: The lowest asks, likewise.
        time: When it was so, by the scheduler's clock.
        message: What made it so; None if it was silence, or the bound on the number of books.
        reset: The book was discarded; it is empty, and waits for a snapshot.
        crossed: A bid is as high as an ask, so the book is wrong.
        stale: Nothing was applied to it for too long.
        unknown_deletes: How many levels were to be removed, since the snapshot, that were not there.
    """

    product: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    time: datetime
    message: M_co | None = None
    reset: bool = False
    crossed: bool = False
    stale: bool = False
    unknown_deletes: int = 0

    def __repr__(self) -> str:
        flags = "".join(f", {name}" for name in ("reset", "crossed", "stale") if getattr(self, name))
        best = f"{_written(self.best_bid)} bid, {_written(self.best_ask)} asked"
        return f"<BookView of {self.product}: {best}, {len(self.bids)} and {len(self.asks)} levels{flags}>"

    def _repr_html_(self) -> str:
        rows = zip_longest(self.bids, self.asks)
        cells = "".join(
            "<tr>" + "".join(f"<td>{value}</td>" for value in (*_cells(bid)[::-1], *_cells(ask))) + "</tr>"
            for bid, ask in rows
        )
        head = "<tr><th>size</th><th>bid</th><th>ask</th><th>size</th></tr>"
        return f"<table><caption>{escape(repr(self))}</caption><thead>{head}</thead><tbody>{cells}</tbody></table>"

    @property
    def best_bid(self) -> Level | None:
        """The highest bid; None if there is none."""
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask; None if there is none."""
        return self.asks[0] if self.asks else None


def _written(level: Level | None) -> str:
    return "nothing" if level is None else f"{level.price} x {level.size}"


def _cells(level: Level | None) -> tuple[str, str]:
    return ("", "") if level is None else (str(level.price), str(level.size))


@dataclass(frozen=True)
class BookTrouble(Generic[M_co]):
    """Why a product should be subscribed to again.

    Attributes:
        kind: `crossed`: a bid has become as high as an ask. `stale`: nothing was applied for too long, be it that
            nothing came, or that the snapshot did not that the book waits for. `malformed`: a message could not be
            read, so the book was discarded. `forgotten`: the book was discarded in favour of another product's.
        product: Whose book.
        message: What led to it; None if it was silence.
        error: Why the message could not be read; None for the other kinds.
    """

    kind: Literal["crossed", "stale", "malformed", "forgotten"]
    product: str
    message: M_co | None = None
    error: Exception | None = None
