"""One connected client, and what the server asks of whatever feeds it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.protocol import State

from rxbridge.simulator.market import Market
from rxbridge.simulator.products import Product
from rxbridge.simulator.protocol import Subscription, Subscriptions


def _no_frames() -> dict[str, int]:
    return dict.fromkeys(
        (
            *("ticker", "match", "last_match", "heartbeat", "snapshot", "l2update", "status", "auction"),
            *("received", "open", "done", "rfq_match", "subscriptions", "error"),
        ),
        0,
    )


@dataclass(slots=True)
class SimulatorStatistics:
    """What a simulator did.

    Attributes:
        connections: WebSocket connections that were opened.
        frames: Frames that were handed to a socket, by wire type, of Advanced Trade by channel. One that goes to two
            clients counts twice.
        silent_clients: Connections closed because no subscribe came in time.
        slow_clients: Connections closed because too much waited to be sent to them.
        faults: How often each kind of the schedule happened, by its name.
    """

    connections: int = 0
    frames: dict[str, int] = field(default_factory=_no_frames)
    silent_clients: int = 0
    slow_clients: int = 0
    faults: dict[str, int] = field(default_factory=dict[str, int])


class Session:
    """A connection, what it is subscribed to, and how frames reach it."""

    def __init__(
        self,
        connection: ServerConnection,
        statistics: SimulatorStatistics,
        *,
        backlog_limit_bytes: int,
        too_slow: Callable[[Session], None],
    ) -> None:
        """Take a connection.

        Args:
            connection: An open connection.
            statistics: Where frames are counted.
            backlog_limit_bytes: How much `push` lets wait in memory.
            too_slow: Called by `push` when more than that waits.
        """
        self.connection = connection
        self.subscriptions: Subscriptions = Subscriptions()
        self._frames = statistics.frames
        self._backlog_limit_bytes = backlog_limit_bytes
        self._too_slow = too_slow
        self._given_up = False

    @property
    def is_heard(self) -> bool:
        """Whether what the client says reaches us."""
        return True

    @property
    def takes_frames(self) -> bool:
        """Whether there is any sense in pushing."""
        return not self._given_up and self.connection.state is State.OPEN

    def push(self, kind: str, frame: bytes, *, text: bool = True) -> None:
        """Send a frame now, without waiting for a client that does not read."""
        if self._given_up or self.connection.state is not State.OPEN:
            return
        broadcast((self.connection,), frame, text=text)
        self._frames[kind] = self._frames.get(kind, 0) + 1
        if self.connection.transport.get_write_buffer_size() > self._backlog_limit_bytes:
            self._given_up = True
            self._too_slow(self)

    async def send(self, kind: str, frame: bytes, *, text: bool = True) -> None:
        """Send a frame, as fast as the client reads.

        Raises:
            websockets.exceptions.ConnectionClosed: The connection ended.
        """
        await self.connection.send(frame, text=text)
        self._frames[kind] = self._frames.get(kind, 0) + 1


class Source(ABC):
    """Where the frames come from: a live market, or a recording. All of it runs in the server's event loop.

    Attributes:
        products: The products on offer.
        markets: Those of them that have a market, which REST can be asked about.
        delisted: Products that REST still lists and that nobody can subscribe to.
    """

    products: AbstractSet[str]
    markets: Mapping[str, Market]
    delisted: Mapping[str, Product] = MappingProxyType({})

    @abstractmethod
    async def run(self) -> None:
        """Feed the subscribers until cancelled; an exception is the end of the server."""


class Feed(Source):
    """A source in the forms of the Exchange.

    Attributes:
        channels: The channels on offer, by the name to ask for them; the value is the name to acknowledge them by.
        keyed_channels: Likewise, for who signs.
    """

    channels: Mapping[str, str]
    keyed_channels: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def greeting(self, subscriptions: Sequence[Subscription]) -> list[tuple[str, bytes]]:
        """The frames, with their kinds, that come first on every subscribe."""

    @abstractmethod
    def attach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """A session wants these from now on; some of them it may have had before."""

    @abstractmethod
    def detach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """A session, perhaps one that has ended, no longer wants these."""
