"""Which frames of a recording, or of a journal, are played again, and how fast."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import datetime
from itertools import islice
from math import inf
from operator import attrgetter
from typing import Literal, TypeAlias

import msgspec
from reactivex import Observable
from reactivex.abc import SchedulerBase

from operators import ReplayClock, play_back
from operators.replay_clock import nanoseconds
from rxbridge.errors import ConfigError
from rxbridge.messages import Frame

OUT_OF_ORDER = 60_000_000_000
"""Nanoseconds by which frames may stand out of the order of their times: of several connections, or of a clock that
was set. Reading goes on for so long after the end."""

Speed: TypeAlias = float | Literal["max", "virtual"]
"""How many times faster than they were received; `max` without a wait; `virtual` by the clock of the scheduler."""

_NAMED = {"max": inf, "virtual": None}

_received_at = attrgetter("received_at")

_MOST_OTHERS = 1_000
"""How many products are remembered that nobody has asked for."""

_PRODUCT = re.compile(rb'"product_id": ?"([^"\\]{1,100})"')


class Selection(msgspec.Struct, frozen=True):
    """A stretch of time, and products.

    Attributes:
        since: The first moment, in nanoseconds since the Unix epoch.
        until: The first moment after it; None where there is no end.
        products: Whose frames; none for all. A frame that names no product, such as a heartbeat, belongs to each. One
            of Advanced Trade that is about several is kept whole.
    """

    since: int = 0
    until: int | None = None
    products: frozenset[bytes] = frozenset()

    def of(self, frames: Iterable[Frame], occurring: set[bytes] | None = None) -> Generator[Frame]:
        """Those of the frames that are meant, in their order.

        Args:
            frames: All of them.
            occurring: Is given the products that occur in the stretch of time, where only some are meant: all of these,
                and about a thousand others.
        """
        since, products = self.since, self.products
        occurring = set() if occurring is None else occurring
        until = self.until if self.until is not None else 1 << 80
        for frame in frames:
            if since <= frame.received_at < until:
                if not products or _concerns(frame.data, products, occurring):
                    yield frame
            elif frame.received_at >= until + OUT_OF_ORDER:
                return


def selection(since: datetime | int | None, until: datetime | int | None, products: Sequence[str]) -> Selection:
    """What the arguments mean.

    Raises:
        ConfigError: A time has no zone; or the end is not after the beginning.
    """
    moments: list[int | None] = []
    for name, moment in (("since", since), ("until", until)):
        try:
            moments.append(None if moment is None else nanoseconds(moment))
        except ValueError as error:
            raise ConfigError(name, str(error)) from None
    begins, ends = moments[0] or 0, moments[1]
    if ends is not None and ends <= begins:
        raise ConfigError("until", f"{until} is not after {since}")
    return Selection(begins, ends, frozenset(product.encode() for product in products))


def played(
    items: Callable[[], Generator[Frame]], *, since: int, speed: Speed | None, scheduler: SchedulerBase | None
) -> Observable[Frame]:
    """Frames at a speed, by default 1, or by a `ReplayClock`. A clock without a start is told when it begins.

    Raises:
        ConfigError: The speed cannot be used, or not with this scheduler.
    """
    if speed is None:
        speed = "virtual" if isinstance(scheduler, ReplayClock) else 1.0
    try:
        factor = _NAMED[speed] if isinstance(speed, str) else float(speed)
    except (KeyError, TypeError):
        raise ConfigError("speed", f"{speed!r} is none", "give a number, 'max', or 'virtual' with a clock") from None
    if isinstance(scheduler, ReplayClock) and speed == "virtual":
        scheduler.begin(since or _first(items))
    try:
        return play_back(items, _received_at, speed=factor, scheduler=scheduler)
    except ValueError as error:
        raise ConfigError("speed", str(error)) from None


def _first(items: Callable[[], Generator[Frame]]) -> int:
    frames = items()
    try:
        return next((frame.received_at for frame in islice(frames, 1)), 0)
    finally:
        frames.close()


def _concerns(data: bytes, products: frozenset[bytes], occurring: set[bytes]) -> bool:
    named = meant = False
    for found in _PRODUCT.finditer(data):
        named, product = True, found[1]
        if product in products:
            meant = True
            occurring.add(product)
            # Else the frame may be the only one that names another of them.
            if products <= occurring:
                return True
        elif len(occurring) < _MOST_OTHERS:
            occurring.add(product)
    return meant or not named
