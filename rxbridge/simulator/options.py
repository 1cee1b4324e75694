"""What a simulator can be told, and what makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TypedDict, Unpack

from rxbridge.channels import FeedName
from rxbridge.errors import ConfigError
from rxbridge.faults import Fault
from rxbridge.simulator.authentication import Credentials
from rxbridge.simulator.playback import TimedFrame


class SimulatorOptions(TypedDict, total=False):
    """The keyword arguments of `Simulator`, which describes them."""

    feed: FeedName
    products: Sequence[str]
    rate: float
    seed: int
    port: int
    recording: Callable[[], Iterable[TimedFrame]] | None
    speed: float
    heartbeat_seconds: float
    subscribe_deadline_seconds: float
    max_trades: int | None
    start_ns: int | None
    trades_kept: int
    backlog_limit_bytes: int
    history: int
    history_seconds: float
    rest_requests_per_second: float
    rest_burst: int
    faults: Iterable[Fault]
    book_depth: int
    book_changes_per_second: float
    ticker_batch_seconds: float
    status_seconds: float
    credentials: Credentials | None


class _Numbers(TypedDict):
    rate: float
    speed: float
    heartbeat_seconds: float
    history: int
    history_seconds: float
    rest_requests_per_second: float
    rest_burst: int
    book_depth: int
    book_changes_per_second: float
    ticker_batch_seconds: float
    status_seconds: float


def check(**given: Unpack[_Numbers]) -> None:
    """Refuse numbers that make no sense.

    Raises:
        ConfigError: It names the first of them.
    """
    # Written so that NaN, too, is refused.
    for name, sensible, what in (
        ("rate", 0 <= given["rate"] < inf, "number of trades a second"),
        ("speed", given["speed"] > 0, "speed: 1 is as it was received"),
        ("heartbeat_seconds", given["heartbeat_seconds"] > 0, "time between heartbeats"),
        ("history", given["history"] >= 0, "number of trades"),
        ("history_seconds", 0 < given["history_seconds"] < inf, "time between trades"),
        ("rest_requests_per_second", 0 <= given["rest_requests_per_second"] < inf, "number of requests a second"),
        ("rest_burst", given["rest_burst"] >= 1, "number of requests at once: 1 is the least"),
        ("book_depth", given["book_depth"] >= 1, "number of levels: 1 is the least"),
        ("book_changes_per_second", 0 <= given["book_changes_per_second"] < inf, "number of changes a second"),
        ("ticker_batch_seconds", 0 < given["ticker_batch_seconds"] < inf, "time between tickers"),
        ("status_seconds", 0 < given["status_seconds"] < inf, "time between frames of the status"),
    ):
        if not sensible:
            raise ConfigError(name, f"{given[name]} is no {what}")
