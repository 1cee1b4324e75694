"""The products that a feed is to bring now, which another thread may change while it runs."""

from __future__ import annotations

from collections.abc import Sequence

from rxbridge.errors import ConfigError


class ProductsInForce:
    """Product ids, read by the feed's thread and set by any other.

    A connection that runs looks here after every message, and asks for what is new and unsubscribes what is gone; a
    new connection asks for what stands here. Nothing waits for anything, so setting it twice in a row is one change.

    Args:
        products: Product ids, such as BTC-USD.

    Attributes:
        current: The newest list. It is replaced and never changed, so whoever has seen it sees by its identity whether
            there is another.

    Raises:
        ConfigError: There is no product, or an empty name.
    """

    __slots__ = ("current",)

    def __init__(self, products: Sequence[str]) -> None:
        self.current: tuple[str, ...] = named("products", products)

    def set(self, products: Sequence[str]) -> None:
        """Put others in force. May be called from any thread.

        Raises:
            ConfigError: There is no product, or an empty name; the old ones stay in force.
        """
        unique = named("products", products)
        if unique != self.current:
            self.current = unique


def named(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names once each, in order; a text is one name.

    Raises:
        ConfigError: There is none, or an empty one.
    """
    unique = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    if not unique or not all(unique):
        raise ConfigError(argument, "it names nothing" if not unique else "a name in it is empty")
    return unique
