"""Books that cannot be followed any more, since a frame could not be read, until their next snapshot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from operators import OrderBook
from rxbridge.messages import BookSnapshot, BookUpdate, line_of


def is_usable(message: BookSnapshot | BookUpdate) -> bool:
    """Whether a book can be followed with this, as far as it can be seen at little cost."""
    try:
        if isinstance(message, BookUpdate):
            OrderBook().apply_update(message.changes)
        else:
            # That each of 46,000 levels has numbers is believed; to make sure would take a tenth of a second.
            _ = message.bids, message.asks
    except (ValueError, TypeError):
        return False
    return True


class SpoiltBooks:
    """The books that wait.

    Args:
        state: By connection, the products; taken over.
    """

    def __init__(self, state: Mapping[int, Iterable[str]]) -> None:
        self._products: dict[int, set[str]] = {connection: set(products) for connection, products in state.items()}

    @property
    def state(self) -> dict[int, list[str]]:
        """What is to be remembered."""
        return {connection: sorted(products) for connection, products in self._products.items()}

    def forget_before(self, connection: int) -> None:
        """This is the connection of its line now, and with each one all books begin anew."""
        line = line_of(connection)
        for other in [other for other in self._products if other != connection and line_of(other) == line]:
            del self._products[other]

    def add(self, connection: int, products: Iterable[str]) -> None:
        """These wait from now on."""
        if new := set(products):
            self._products.setdefault(connection, set()).update(new)

    def begin(self, connection: int, product: str) -> None:
        """A snapshot came."""
        if products := self._products.get(connection):
            products.discard(product)
            if not products:
                del self._products[connection]

    def waits(self, connection: int, product: str) -> bool:
        """Whether it does."""
        return product in self._products.get(connection, ())
