"""What is remembered of which quotes came; see `coverage` for what it means."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import msgspec

from rxbridge.backfill.order_numbers import OrderNumbers


class Break(NamedTuple):
    """The silence of one product, see `Silence`; `last` is 0 while it lasts."""

    first: int
    lost_frames: int = 0
    last: int = 0


class Line(msgspec.Struct):
    """One of the connections that are kept up at the same time.

    Attributes:
        connection: The present one.
        last_at: When its newest frame was received: nanoseconds since the Unix epoch.
        index: The place of its newest frame on the connection; -1 before the first.
        sequence: The number of its newest frame that has one, as those of Advanced Trade; -1 before the first.
        brings: By channel, the products that it brings, and since when.
        orders: By product, the numbers of the channel `full`.
    """

    connection: int
    last_at: int
    sequence: int = -1
    index: int = -1
    brings: dict[str, dict[str, int]] = {}
    orders: dict[str, OrderNumbers] = {}


class Covered(msgspec.Struct):
    """What is known of one product on one channel.

    Attributes:
        decided_to: Up to this moment it is known what came and what did not, in nanoseconds since the Unix epoch.
        brought: Later times in which connections brought it that have ended by now: from when to when.
    """

    decided_to: int
    brought: list[tuple[int, int]] = []


Silent: TypeAlias = dict[str, dict[str, Break]]


class CoverageState(msgspec.Struct):
    """What is to be remembered of a `Coverage`.

    Attributes:
        lines: By number.
        silent: By channel and product, silences that last, or that have ended and were not taken yet.
        covered: By channel and product, what else is known.
    """

    lines: dict[int, Line] = {}
    silent: Silent = {}
    covered: dict[str, dict[str, Covered]] = {}
