"""The feed of an Advanced Trade recording: what was received once, served again, only numbered anew."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple

import msgspec
from websockets.exceptions import ConnectionClosed

from rxbridge.errors import ConfigError
from rxbridge.simulator.advanced import wire
from rxbridge.simulator.advanced.client import Client
from rxbridge.simulator.advanced.protocol import HEARTBEATS
from rxbridge.simulator.advanced.service import AdvancedFeed
from rxbridge.simulator.market import Market
from rxbridge.simulator.playback import Listeners, TimedFrame, when_due
from rxbridge.simulator.protocol import Subscription

SUBSCRIBED_AS = {
    "market_trades": "market_trades",
    "ticker": "ticker",
    "ticker_batch": "ticker_batch",
    "candles": "candles",
    "l2_data": "level2",
    "status": "status",
    "heartbeats": "heartbeats",
}
"""What to subscribe to for a frame, by the channel that it names. Frames of other channels are not served: among them
the recorded acknowledgements, which answer somebody else's subscribe."""

PATIENCE_SECONDS = 1.0
"""Snapshots come before the acknowledgement; one that was recorded later than this is not waited for."""


class _Item(msgspec.Struct):
    product_id: str = ""


class _Listed(msgspec.Struct):
    id: str


class _Event(msgspec.Struct):
    type: str = ""
    product_id: str = ""
    trades: list[_Item] = []
    tickers: list[_Item] = []
    candles: list[_Item] = []
    # Of the channel status: it names products otherwise.
    products: list[_Listed] = []

    @property
    def product_ids(self) -> set[str]:
        items = (self, *self.trades, *self.tickers, *self.candles)
        return {item.product_id for item in items if item.product_id} | {listed.id for listed in self.products}


class _Frame(msgspec.Struct):
    channel: str
    sequence_num: int
    events: list[_Event] = []


_decode_frame = msgspec.json.Decoder(_Frame).decode


class _Recorded(NamedTuple):
    """What a recorded frame is: its channel, what must be subscribed to for it, and whether it is a snapshot."""

    channel: str
    subscriptions: frozenset[Subscription]
    is_snapshot: bool


class _Survey(NamedTuple):
    """What there is in a recording. Times are in nanoseconds since the Unix epoch.

    Attributes:
        begins_at: When the first frame was received.
        ends_at: And the last.
        offers: What can be subscribed to.
        snapshots: When the first snapshot for each was received, where there is one.
    """

    begins_at: int
    ends_at: int
    offers: set[Subscription]
    snapshots: dict[Subscription, int]


class AdvancedReplay(AdvancedFeed):
    """Plays the recording to each subscription from its start.

    A client that wants three channels says so in three messages; each gets all there is, however fast the recording is
    played. What is subscribed already is not played again; what was unsubscribed is. After the last frame there is
    silence.

    A recording that was made without heartbeats gets some, for as long as it plays, for who subscribes to them.
    """

    def __init__(
        self, recording: Callable[[], Iterable[TimedFrame]], *, speed: float, heartbeat_seconds: float
    ) -> None:
        """Read the recording through once, to know what it offers.

        Args:
            recording: Opens the recording: each call gives its frames from the start.
            speed: How many times faster than they were received the frames are sent; infinity for as fast as the
                client reads.
            heartbeat_seconds: The time between two heartbeats, if the recording has none.

        Raises:
            ConfigError: There is nothing in it to serve.
        """
        self._recording = recording
        self._speed = speed
        self._heartbeat_seconds = heartbeat_seconds
        self._survey = _survey(recording())
        self.channels: AbstractSet[str] = frozenset(SUBSCRIBED_AS.values())
        self.products: AbstractSet[str] = frozenset(product for _, product in self._survey.offers - {HEARTBEATS})
        self.markets: Mapping[str, Market] = {}
        self._listeners = Listeners()
        self._started_ns = time.monotonic_ns()

    async def run(self) -> None:
        """Wait until cancelled, or until a playback fails."""
        await self._listeners.run()

    def subscribe(self, client: Client, subscriptions: Sequence[Subscription], acknowledge: Callable[[], None]) -> None:
        """Play the recording for those of the subscriptions that are new; acknowledge after their snapshots."""
        if HEARTBEATS in subscriptions and HEARTBEATS not in self._survey.offers:
            acknowledge()
            self._listeners.attach(client, subscriptions, lambda _: self._beat(client))
            return
        new = self._listeners.new(client, subscriptions)
        awaited = {subscription for subscription in new if self._comes_soon(subscription)}
        if not awaited:
            acknowledge()
        self._listeners.attach(client, subscriptions, partial(self._play, client, awaited, acknowledge))

    def unsubscribe(self, client: Client, subscriptions: Sequence[Subscription]) -> None:
        """Play on without these."""
        self._listeners.detach(client, subscriptions)

    def _comes_soon(self, subscription: Subscription) -> bool:
        """Whether its snapshot does, if it has one."""
        received_at = self._survey.snapshots.get(subscription)
        return received_at is not None and self._seconds_until(received_at) <= PATIENCE_SECONDS

    def _seconds_until(self, received_at: int) -> float:
        """From the start of a playback."""
        return (received_at - self._survey.begins_at) / 1_000_000_000 / self._speed

    async def _play(
        self,
        client: Client,
        awaited: set[Subscription],
        acknowledge: Callable[[], None],
        wanted: set[Subscription],
    ) -> None:
        def concern(data: bytes) -> _Recorded | None:
            recorded = _recorded(data)
            return None if recorded is None or recorded.subscriptions.isdisjoint(wanted) else recorded

        player = asyncio.current_task()
        frames = when_due(self._recording(), concern, begins_at=self._survey.begins_at, speed=self._speed)
        with contextlib.suppress(ConnectionClosed):
            async with contextlib.aclosing(frames):
                async for recorded, data in frames:
                    mine = recorded.subscriptions & wanted
                    if any(self._listeners.hears(client, subscription, player) for subscription in mine):
                        await client.send(recorded.channel, wire.without_number(data))
                    if recorded.is_snapshot and not awaited.isdisjoint(mine):
                        awaited -= mine
                        if not awaited:
                            acknowledge()

    async def _beat(self, client: Client) -> None:
        """Make the heartbeats that the recording lacks, until it ends."""
        player = asyncio.current_task()
        beats = int(self._seconds_until(self._survey.ends_at) / self._heartbeat_seconds)
        with contextlib.suppress(ConnectionClosed):
            for counter in range(1, beats + 1):
                await asyncio.sleep(self._heartbeat_seconds)
                if self._listeners.hears(client, HEARTBEATS, player):
                    uptime_ns = time.monotonic_ns() - self._started_ns
                    await client.send("heartbeats", wire.heartbeat(counter, uptime_ns, time.time_ns()))


def speaks_advanced_trade(frames: Iterable[TimedFrame]) -> bool:
    """Whether a recording is one of Advanced Trade: whether its first frame that has a type or a channel is."""
    for frame in frames:
        try:
            head = _decode_head(frame.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if head.channel and head.sequence_num is not None:
            return True
        if head.type:
            return False
    return False


class _Head(msgspec.Struct):
    type: str = ""
    channel: str = ""
    sequence_num: int | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


def _recorded(data: bytes) -> _Recorded | None:
    """What a frame is; None if it is not to be served.

    Of a snapshot without an item nobody can tell the product, nor who misses it: it is not served.
    """
    try:
        frame = _decode_frame(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if (channel := SUBSCRIBED_AS.get(frame.channel)) is None:
        return None
    if channel == HEARTBEATS[0]:
        return _Recorded(frame.channel, frozenset({HEARTBEATS}), is_snapshot=False)
    products = {product for event in frame.events for product in event.product_ids}
    is_snapshot = any(event.type == "snapshot" for event in frame.events)
    return _Recorded(frame.channel, frozenset((channel, product) for product in products), is_snapshot)


def _survey(frames: Iterable[TimedFrame]) -> _Survey:
    """Read a recording through.

    Raises:
        ConfigError: There is nothing to serve.
    """
    begins_at: int | None = None
    ends_at = 0
    offers: set[Subscription] = set()
    snapshots: dict[Subscription, int] = {}
    for frame in frames:
        ends_at = frame.received_at
        if begins_at is None:
            begins_at = frame.received_at
        if (recorded := _recorded(frame.data)) is None:
            continue
        offers |= recorded.subscriptions
        if recorded.is_snapshot:
            for subscription in recorded.subscriptions:
                snapshots.setdefault(subscription, frame.received_at)
    if begins_at is None or not offers:
        raise ConfigError("recording", "there is no frame of Coinbase's Advanced Trade feed in it that can be served")
    return _Survey(begins_at, ends_at, offers, snapshots)
