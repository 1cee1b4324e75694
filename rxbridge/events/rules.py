"""What a user may choose of the events."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol


class Rules(Protocol):
    """Which rules hold for which frame: `EventRules` for all alike."""

    def at(self, offset: int, /) -> EventRules:
        """Those for the frame of this offset; 0 stands for one that is in no journal."""
        ...


class EventRules(NamedTuple):
    """How messages become events. The ids do not depend on it, but which events of books there are does.

    A journal keeps them: a new field goes to the end, and has a default that stands for what was before.

    Attributes:
        environment: `source.environment`, of which PulseStream takes 50 characters.
        raw: Whether an event holds what Coinbase sent, as it came.
        book: What is told of order books: images of the best levels, or all that Coinbase sends, in parts.
        book_depth: Levels of each side in the image of an order book.
        book_seconds: The time between two images of a product's book, if its best levels have changed.
    """

    environment: str = "production"
    raw: bool = True
    book: Literal["images", "full"] = "images"
    book_depth: int = 10
    book_seconds: float = 1.0

    def at(self, _offset: int, /) -> EventRules:
        """These, whichever frame it is."""
        return self
