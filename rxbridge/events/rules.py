"""What a user may choose of the events."""

from __future__ import annotations

from typing import Literal, NamedTuple


class EventRules(NamedTuple):
    """How messages become events. The ids do not depend on it, but which images of books there are does.

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
