"""Which protocol is spoken: as a live market is told to, or as the frames of a recording do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

from rxbridge.channels import FeedName
from rxbridge.errors import ConfigError
from rxbridge.faults import Faults
from rxbridge.simulator.advanced.live import AdvancedLive
from rxbridge.simulator.advanced.replay import AdvancedReplay, speaks_advanced_trade
from rxbridge.simulator.advanced.service import AdvancedService
from rxbridge.simulator.authentication import Authentication
from rxbridge.simulator.exchange_service import ExchangeService
from rxbridge.simulator.live import LiveFeed
from rxbridge.simulator.playback import TimedFrame
from rxbridge.simulator.replay import ReplayFeed
from rxbridge.simulator.service import Service


def live_service(
    live: LiveFeed, feed: FeedName, *, seed: int, faults: Faults, authentication: Authentication | None = None
) -> Service:
    """What tells of live markets, in one of the protocols; on the Exchange, of all of it to who has the key.

    Raises:
        ConfigError: There is no such feed.
    """
    match feed:
        case "exchange":
            return ExchangeService(live, seed=seed, faults=faults, authentication=authentication)
        case "advanced":
            return AdvancedService(AdvancedLive(live, seed=seed), seed=seed, faults=faults)
        case _:
            raise ConfigError("feed", f"{feed!r} is none", f"there are {' and '.join(get_args(FeedName))}")


def recorded_service(
    recording: Callable[[], Iterable[TimedFrame]], *, speed: float, heartbeat_seconds: float, seed: int, faults: Faults
) -> Service:
    """What plays a recording, in the protocol in which it was received.

    Raises:
        ConfigError: There is nothing in it to serve.
    """
    if speaks_advanced_trade(recording()):
        feed = AdvancedReplay(recording, speed=speed, heartbeat_seconds=heartbeat_seconds)
        return AdvancedService(feed, seed=seed, faults=faults)
    return ExchangeService(
        ReplayFeed(recording, speed=speed, heartbeat_seconds=heartbeat_seconds), seed=seed, faults=faults
    )
