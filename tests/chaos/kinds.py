"""The kinds of faults, with the range of what is drawn for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeAlias

FeedName: TypeAlias = Literal["exchange", "advanced"]
Side: TypeAlias = Literal["feed", "sink", "host"]
Value: TypeAlias = str | int | float | bool
Choose: TypeAlias = Callable[[Random], Value]

FEEDS: tuple[FeedName, ...] = ("exchange", "advanced")
SIDES: tuple[Side, ...] = ("feed", "sink", "host")
PRODUCTS = ("BTC-USD", "ETH-USD")

CHANNELS: Mapping[FeedName, tuple[str, ...]] = {
    "exchange": ("ticker", "matches"),
    "advanced": ("ticker", "matches", "candles"),
}
"""What is subscribed to in every run, as rxbridge calls it."""

BOOKS = "level2"
"""And in some."""

ON_WIRE: Mapping[FeedName, Mapping[str, str]] = {
    "exchange": {"level2": "level2_batch"},
    "advanced": {"matches": "market_trades"},
}
"""What a feed calls a channel, where that is another name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        side: Who makes it happen: the simulator, the embedded PulseStream, or the suite itself.
        lasts: For how many seconds, from and to; None where it happens in a moment.
        parameters: How each is drawn.
        provoked_by: Another kind, without which it would not show.
        loses_frames: Whether the feed loses or damages frames without a disconnect.
        dead_letters: Whether frames may become dead letters by it.
        feeds: Where it happens.
    """

    side: Side
    lasts: tuple[float, float] | None = None
    parameters: Mapping[str, Choose] = field(default_factory=dict[str, Choose])
    provoked_by: str | None = None
    loses_frames: bool = False
    dead_letters: bool = False
    feeds: tuple[FeedName, ...] = FEEDS

    @property
    def brief(self) -> float | None:
        """A short time, for one that is there to provoke another; None where it happens in a moment."""
        return None if self.lasts is None else self.lasts[0]


def _between(low: float, high: float) -> Choose:
    return lambda random: round(random.uniform(low, high), 3)


def _one_of(*values: Value) -> Choose:
    return lambda random: random.choice(values)


_SPAN = (0.8, 3.5)
_RARELY = {"probability": _between(0.05, 0.3)}
_OFTEN = {"probability": _between(0.2, 1.0)}
_REST_SPAN = (1.5, 4.0)
_YES_OR_NO: Choose = lambda random: random.random() < 0.5  # noqa: E731 as short as its neighbors

FILE_FAULTS = frozenset({"corrupt_running", "corrupt_stopped"})
"""What the file of the journal suffers."""

KINDS: dict[str, Kind] = {
    "drop": Kind("feed", _SPAN, {"probability": _between(0.05, 0.7)}, loses_frames=True),
    "close": Kind("feed", None, {"code": _one_of(1000, 1001, 1005, 1006, 1009, 1011, 1012, 1013, 4999)}),
    "reset": Kind("feed"),
    "silence": Kind("feed", (1.0, 5.0), loses_frames=True),
    "trickle": Kind("feed", _SPAN, {"bytes_per_second": _one_of(500, 2_000, 10_000)}),
    "duplicate": Kind("feed", _SPAN, _OFTEN),
    "reorder": Kind("feed", _SPAN, _OFTEN),
    "garbage": Kind("feed", _SPAN, _RARELY, dead_letters=True),
    "binary": Kind("feed", _SPAN, _RARELY, dead_letters=True),
    "truncate": Kind("feed", _SPAN, _RARELY, loses_frames=True, dead_letters=True),
    "huge": Kind("feed", (0.5, 1.0), {"probability": _between(0.01, 0.03)}, dead_letters=True),
    "unknown": Kind("feed", _SPAN, _OFTEN),
    "level3": Kind("feed", _SPAN, _OFTEN, feeds=("exchange",)),
    "missing_field": Kind("feed", _SPAN, _RARELY, loses_frames=True, dead_letters=True),
    "null_field": Kind("feed", _SPAN, _RARELY, loses_frames=True, dead_letters=True),
    "last_trade_id_zero": Kind("feed", _SPAN, provoked_by="drop", feeds=("exchange",)),
    "subscription_error": Kind("feed", _SPAN, {"product": _one_of(*PRODUCTS)}, provoked_by="close"),
    "partial_ack": Kind("feed", _SPAN, {"channel": _one_of(*CHANNELS["exchange"])}, provoked_by="close"),
    "clock": Kind("feed", _SPAN, {"offset_seconds": _one_of(-3600, -400, -2, 2, 400, 3600)}),
    "rest_429": Kind("feed", _REST_SPAN, {"retry_after": _one_of(1, 2)}, provoked_by="drop"),
    "rest_500": Kind("feed", _REST_SPAN, provoked_by="drop"),
    "rest_slow": Kind("feed", _REST_SPAN, {"delay_seconds": _between(0.5, 3.0)}, provoked_by="reset"),
    "rest_empty": Kind("feed", (1.0, 3.0), provoked_by="drop"),
    "refuse": Kind("sink", _SPAN),
    "sink_reset": Kind("sink", _SPAN, {"after": _one_of("request", "response"), **_OFTEN}),
    "fail": Kind("sink", _SPAN, _OFTEN),
    "unauthorized": Kind("sink", _SPAN),
    "too_many": Kind("sink", _SPAN, {"retry_after": _one_of(1, 2, "date"), "times": _one_of(1, 2), **_OFTEN}),
    "lose": Kind("sink", _SPAN, _OFTEN),
    "partial": Kind("sink", _SPAN, _OFTEN),
    "out_of_shape": Kind("sink", _SPAN, {"stores": _YES_OR_NO, **_OFTEN}),
    "html": Kind("sink", _SPAN, _OFTEN),
    "hang": Kind("sink", _SPAN, {"delay_seconds": _between(0.3, 1.8), "stores": _YES_OR_NO, **_OFTEN}),
    "slow": Kind("sink", _SPAN, {"seconds_per_event": _between(0.002, 0.015)}),
    "redirect": Kind("sink", _SPAN, _OFTEN),
    "wrong_certificate": Kind("sink", _SPAN, provoked_by="sink_reset"),
    "disk_full": Kind("host", (0.5, 4.0), {"spare_bytes": _one_of(0, 4_096, 100_000)}),
    "corrupt_running": Kind("host", None, {"place": _between(0.0, 1.0)}),
    "corrupt_stopped": Kind("host", None, {"place": _between(0.0, 1.0)}),
    "read_only": Kind("host", (0.5, 4.0)),
    "suspend": Kind("host", (0.5, 5.0)),
    "step": Kind(
        # A notice of a gap has our time, and PulseStream takes none from far ahead.
        "host",
        None,
        {"seconds": _one_of(-86_400, -3_600, -30, -1, 1, 30, 3_600, 86_400)},
        dead_letters=True,
    ),
    "kill": Kind("host", None, {"away_seconds": _between(0.0, 1.0)}),
    "terminate": Kind("host", None, {"away_seconds": _between(0.0, 1.0)}),
    "sink_kill": Kind("host", None, {"away_seconds": _between(0.0, 2.0)}),
    "sink_suspend": Kind("host", (0.5, 3.0)),
}
