"""When which order book of a connection is begun anew. Pure: time, and what is known of the books, come in.

The Exchange's updates of books have no numbers, so one that Coinbase drops is not missed, and a wrong level stays wrong
until its price is traded again. So each book has its turn now and then, and one that is in doubt need not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

Doubts: TypeAlias = Mapping[tuple[int, str], int]
"""Books in doubt: by connection and product, the index of the frame that gave rise to it; all books of a connection
where the product is empty."""

PAUSE_SECONDS: Final = 2.0
"""Between two renewals. A snapshot may have 5 MB, so those of hundreds of products are no burst."""

AT_ONCE: Final = 5
"""Books in doubt that are renewed together."""

LONGEST_WAIT_SECONDS: Final = 3600.0
"""For how long at most a book in doubt is left as it is, if it was just begun anew."""


class BooksInDoubt:
    """Books that somebody knows to be wrong, set by any thread and read by the feed's.

    Attributes:
        current: The newest. It is replaced and never changed, so that its identity shows whether there is another.
    """

    __slots__ = ("current",)

    def __init__(self, doubts: Doubts | None = None) -> None:
        self.current: Doubts = {} if doubts is None else doubts

    def set(self, doubts: Doubts) -> None:
        """Put others in the place of all; what was heard before is not heard again. From any thread."""
        if doubts != self.current:
            self.current = doubts


@dataclass(slots=True)
class _Book:
    """When a book was begun, by the clock and by the frames before; and how long it is not begun anew then."""

    at: float
    index: int
    wait: float


class RenewalPlan:
    """Plans the renewals of one connection.

    Args:
        connection: Which one it is, as its frames say.
        every_seconds: The time in which every book has its turn once; 0 for none.
        wait_seconds: How long after its beginning a book is not begun anew although it is in doubt. It doubles for one
            that is in doubt again and again, since to begin it anew does not mend that.

    Attributes:
        deadline: When to ask `due` next, on the clock of the `now` arguments; infinity if never.
    """

    def __init__(self, connection: int, every_seconds: float, wait_seconds: float) -> None:
        self.deadline: float = inf
        self._connection = connection
        self._every_seconds = every_seconds or inf
        self._wait_seconds = wait_seconds
        self._books: dict[str, _Book] = {}
        self._doubts: Doubts = {}
        self._turn_at = inf
        self._free_at = -inf

    def follow(self, products: Sequence[str], now: float, index: int) -> None:
        """These books have been begun and not ended.

        Args:
            products: By the ids under which they come.
            now: The time.
            index: How many frames came before.
        """
        if self._books.keys() != set(products):
            self._books = {
                product: self._books.get(product) or _Book(now, index, self._wait_seconds) for product in products
            }
            self._turn_at = min(self._turn_at, now + self._spacing()) if products else inf
            self._set_deadline(now)

    def hear(self, doubts: Doubts, now: float) -> None:
        """These are the books in doubt."""
        self._doubts = {about: index for about, index in doubts.items() if about[0] == self._connection}
        self._set_deadline(now)

    def due(self, now: float, index: int) -> tuple[list[str], bool]:
        """The books to begin anew now, and whether that is because they are in doubt.

        Args:
            now: The time.
            index: How many frames came before.
        """
        if now < self._free_at:
            return [], False
        doubted = [product for product, at in self._doubted().items() if at <= now][:AT_ONCE]
        chosen = doubted
        if not doubted and now >= self._turn_at:
            # The one that has stood for longest.
            chosen = sorted(self._books, key=lambda product: self._books[product].at)[:1]
            self._turn_at = now + self._spacing()
        for product in chosen:
            wait = self._next_wait(product, now) if doubted else self._wait_seconds
            self._books[product] = _Book(now, index, wait)
        if chosen:
            self._free_at = now + PAUSE_SECONDS
        self._set_deadline(now)
        return chosen, bool(doubted)

    def _spacing(self) -> float:
        return max(self._every_seconds / max(len(self._books), 1), PAUSE_SECONDS)

    def _next_wait(self, product: str, now: float) -> float:
        book = self._books[product]
        has_stood = now - book.at > 2 * book.wait
        return self._wait_seconds if has_stood else min(2 * book.wait, LONGEST_WAIT_SECONDS)

    def _doubted(self) -> dict[str, float]:
        """When each book that is in doubt may be begun anew; not those that were since the doubt."""
        every = self._doubts.get((self._connection, ""), -1)
        doubts = {product: self._doubts.get((self._connection, product), -1) for product in self._books}
        return {
            product: book.at + book.wait
            for product, book in self._books.items()
            if max(doubts[product], every) >= book.index
        }

    def _set_deadline(self, now: float) -> None:
        soonest = min([self._turn_at, *self._doubted().values()])
        self.deadline = max(soonest, self._free_at, now) if soonest < inf else inf
