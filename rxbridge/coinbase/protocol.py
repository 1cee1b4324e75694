"""What differs between Coinbase's two feeds for whoever connects to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rxbridge.channels import FeedName
from rxbridge.coinbase.answers import Answers
from rxbridge.coinbase.wanted import Wanted

Verb: TypeAlias = Literal["subscribe", "unsubscribe"]


@dataclass(frozen=True, slots=True)
class FeedProtocol:
    """How a feed is spoken to, and how its answers read.

    On both, a subscription must be asked for within 5 s of connecting, no more than 8 messages a second are taken, and
    answers may come after data.

    Attributes:
        name: Which feed it is.
        heartbeat: The channel that says every second that the connection lives. It is always asked for, and it is what
            entitles the watchdog to take silence for death: without it, products that nobody trades are as silent.
        without_products: The channels that are asked for as a whole, and not product by product. One of them counts as
            if its own name were its product, which is also how Advanced Trade acknowledges its heartbeats.
        one_channel_a_message: Whether a message can ask for a single channel only.
        books: The channels that bring order books.
        books_are_numbered: Whether their frames are, so that one that is lost shows.
        served_as: The id under which a product is acknowledged and comes, which several may share.
        encode: The message that asks for something, or asks for it no more.
        answers: How to read what comes back.
        signed: The channels whose refusal is that of a signature, where it is one and names none.
    """

    name: FeedName
    heartbeat: str
    without_products: frozenset[str]
    one_channel_a_message: bool
    books: tuple[str, ...]
    books_are_numbered: bool
    served_as: Callable[[str], str]
    encode: Callable[[Verb, Wanted], bytes]
    answers: Answers
    signed: frozenset[str] = frozenset()

    @property
    def heartbeat_has_products(self) -> bool:
        """Whether the heartbeat is asked for product by product."""
        return self.heartbeat not in self.without_products
