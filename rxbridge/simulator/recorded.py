"""A recording of either feed: which it is, its frames tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rxbridge.faults import Faults
from rxbridge.simulator.advanced.replay import AdvancedReplay, speaks_advanced_trade
from rxbridge.simulator.advanced.service import AdvancedService
from rxbridge.simulator.exchange_service import ExchangeService
from rxbridge.simulator.playback import TimedFrame
from rxbridge.simulator.replay import ReplayFeed
from rxbridge.simulator.service import Service


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
