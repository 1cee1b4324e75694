"""The feed of a recording: what was received once, served again byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial

import msgspec
from websockets.exceptions import ConnectionClosed

from rxbridge.errors import ConfigError
from rxbridge.simulator import wire
from rxbridge.simulator.market import Market
from rxbridge.simulator.playback import Listeners, TimedFrame, when_due
from rxbridge.simulator.protocol import Subscription
from rxbridge.simulator.session import Feed, Session

CHANNEL_OF_TYPE = {
    "ticker": "ticker",
    "match": "matches",
    "last_match": "matches",
    "heartbeat": "heartbeat",
    "snapshot": "level2_50",
    "l2update": "level2_50",
}
"""Which channel brings a frame, by its type. Frames of other types are not served: among them the recorded
acknowledgements, which answer somebody else's subscribe."""

CHANNELS = {
    "ticker": "ticker",
    "matches": "matches",
    "heartbeat": "heartbeat",
    "level2": "level2_50",
    "level2_batch": "level2_50",
}
"""The feed acknowledges `level2_batch` by this name. A recording cannot tell which of the two book channels it was
made of, since they send the same frames, so they are one here."""


class _Head(msgspec.Struct):
    type: str = ""
    product_id: str = ""


_decode_head = msgspec.json.Decoder(_Head).decode


class ReplayFeed(Feed):
    """Plays the recording to each connection from its start.

    More exactly, to each subscription: a client that spreads what it wants over several subscribes gets all of it, and
    not less the faster the recording is played. What is subscribed already is not played again; what was unsubscribed
    is. After the last frame there is silence.

    A recording that was made without heartbeats gets some while it plays, for who subscribes to them: Coinbase sends
    them, and without them a pause in the trade looks like a dead feed.
    """

    def __init__(
        self, recording: Callable[[], Iterable[TimedFrame]], *, speed: float, heartbeat_seconds: float
    ) -> None:
        """Read the recording through once, to know what it offers.

        Args:
            recording: Opens the recording: each call gives its frames from the start.
            speed: How many times faster than they were received the frames are sent; infinity for as fast as the
                client reads.
            heartbeat_seconds: The time between two heartbeats of a product, if the recording has none.

        Raises:
            ConfigError: There is nothing in it to serve.
        """
        self._recording = recording
        self._speed = speed
        self._heartbeat_seconds = heartbeat_seconds
        self._first_received_at, products, self._has_heartbeats = _survey(recording())
        self.products: AbstractSet[str] = products
        self.channels: Mapping[str, str] = CHANNELS
        self.markets: Mapping[str, Market] = {}
        self._listeners = Listeners()

    async def run(self) -> None:
        """Wait until cancelled, or until a playback fails."""
        await self._listeners.run()

    def greeting(self, subscriptions: Sequence[Subscription]) -> list[tuple[str, bytes]]:
        """Nothing: the recording has greetings of its own."""
        del subscriptions
        return []

    def attach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """Play the recording for those of the subscriptions that are new."""
        self._listeners.attach(session, subscriptions, partial(self._play, session))

    def detach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """Play on without these."""
        self._listeners.detach(session, subscriptions)

    async def _play(self, session: Session, wanted: set[Subscription]) -> None:
        def concern(data: bytes) -> tuple[str, Subscription] | None:
            kind, subscription = _classify(data)
            return (kind, subscription) if subscription in wanted else None

        player = asyncio.current_task()
        heart = None if self._has_heartbeats else asyncio.create_task(self._beat(session, wanted, player))
        frames = when_due(self._recording(), concern, begins_at=self._first_received_at, speed=self._speed)
        try:
            async with contextlib.aclosing(frames):
                async for (kind, subscription), data in frames:
                    if self._listeners.hears(session, subscription, player):
                        await session.send(kind, data)
        except ConnectionClosed:
            pass
        finally:
            if heart is not None:
                heart.cancel()

    async def _beat(self, session: Session, wanted: set[Subscription], player: object) -> None:
        beating = sorted(subscription for subscription in wanted if subscription[0] == "heartbeat")
        with contextlib.suppress(ConnectionClosed):
            while beating:
                await asyncio.sleep(self._heartbeat_seconds)
                for subscription in beating:
                    if self._listeners.hears(session, subscription, player):
                        await session.send("heartbeat", wire.bare_heartbeat(subscription[1], time.time_ns()))


def _classify(data: bytes) -> tuple[str, Subscription]:
    """The type of a frame and what must be subscribed to for it: a channel without a name where nothing brings it."""
    try:
        head = _decode_head(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", ("", "")
    return head.type, (CHANNEL_OF_TYPE.get(head.type, ""), head.product_id)


def _survey(frames: Iterable[TimedFrame]) -> tuple[int, frozenset[str], bool]:
    """When the first frame was received, the products of which there are frames to serve, whether it has heartbeats."""
    first_received_at: int | None = None
    products: set[str] = set()
    has_heartbeats = False
    for frame in frames:
        if first_received_at is None:
            first_received_at = frame.received_at
        _, (channel, product_id) = _classify(frame.data)
        if channel:
            products.add(product_id)
            has_heartbeats = has_heartbeats or channel == "heartbeat"
    if first_received_at is None or not products:
        raise ConfigError("recording", "there is no frame of Coinbase's Exchange feed in it")
    return first_received_at, frozenset(products), has_heartbeats
