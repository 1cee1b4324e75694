"""Which faults happen now, and how often each has happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from threading import Lock

from rxbridge.faults.fault import Fault
from rxbridge.faults.kinds import KINDS, Side


class _Running:
    """A fault at work: its dice, and how much of `times` is used up."""

    def __init__(self, fault: Fault, dice: Random, *, no_time: bool) -> None:
        self.fault = fault
        self._dice = dice
        self._no_time = no_time
        self._occurrence: int | None = None
        self._fired = 0

    def lasts(self, elapsed: float) -> bool:
        return not self._no_time and self._has_begun(elapsed) and not self._is_used_up()

    def happens(self, elapsed: float) -> bool:
        """Roll, also for one that takes no time: at its beginning, who but the server knows what it may hit."""
        if not self._has_begun(elapsed) or self._is_used_up():
            return False
        return self.fault.probability == 1 or self._dice.random() < self.fault.probability

    def fired(self) -> None:
        self._fired += 1

    def _has_begun(self, elapsed: float) -> bool:
        occurrence = self.fault.occurrence(elapsed)
        if occurrence is not None and occurrence != self._occurrence:
            self._occurrence = occurrence
            self._fired = 0
        return occurrence is not None

    def _is_used_up(self) -> bool:
        return self.fault.times is not None and self._fired >= self.fault.times


class Faults:
    """One side's part of a schedule, against a clock. Nothing happens before `start`. Safe in any thread.

    A server asks at each frame, request or connection, and says when it did it:

        fault = faults.active("drop")
        if fault is not None:
            faults.fired(fault)
            ...

    `active` has rolled the fault's dice; `lasting` has not, for servers that must know what could happen. `fired`
    counts, and uses up `times`. Entries that say the same are one.
    """

    def __init__(
        self,
        faults: Iterable[Fault],
        *,
        side: Side,
        seed: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what concerns this side; faults of the other are ignored.

        Args:
            faults: The whole schedule.
            side: Whose part of it.
            seed: The same seed rolls the same dice, each fault its own.
            clock: Seconds that never step back.
        """
        self._kinds = KINDS[side]
        mine = dict.fromkeys(fault for fault in faults if fault.kind in self._kinds and fault.side in {None, side})
        self._running = {
            fault: _Running(
                fault,
                Random(f"{seed} fault {number}"),  # noqa: S311  (dice, not a secret)
                no_time=fault.seconds is None and self._kinds[fault.kind].momentary,
            )
            for number, fault in enumerate(mine)
        }
        self._by_kind: dict[str, list[_Running]] = {}
        for fault, running in self._running.items():
            self._by_kind.setdefault(fault.kind, []).append(running)
        self.counts: dict[str, int] = dict.fromkeys(self._by_kind, 0)
        self._clock = clock
        self._started_at: float | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._running)

    def start(self) -> None:
        """The server is ready: the times of the schedule count from now."""
        self._started_at = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start; negative before it."""
        return -1.0 if self._started_at is None else self._clock() - self._started_at

    def of(self, *kinds: str) -> tuple[Fault, ...]:
        """The faults of these kinds, whenever they are."""
        return tuple(fault for fault in self._running if fault.kind in kinds)

    def lasting(self, kind: str) -> tuple[Fault, ...]:
        """The faults of a kind that last now and are not used up, whatever their probability."""
        if not (candidates := self._by_kind.get(kind)):
            return ()
        with self._lock:
            elapsed = self.elapsed
            return tuple(running.fault for running in candidates if running.lasts(elapsed))

    def active(self, kind: str) -> Fault | None:
        """The first fault of a kind that lasts now and whose dice say yes: commit it, and call `fired`."""
        for fault in self.lasting(kind):
            if self.happens(fault):
                return fault
        return None

    def happens(self, fault: Fault) -> bool:
        """Roll the dice of a fault that has begun: of one that `lasting` gave, or at one of its `beginnings`."""
        with self._lock:
            return self._running[fault].happens(self.elapsed)

    def fired(self, fault: Fault) -> None:
        """A fault was committed: on one frame, request or connection."""
        with self._lock:
            self._running[fault].fired()
            self.counts[fault.kind] += 1

    def report_line(self) -> str:
        """`faults fired: drop=12 close=3`, with those that never were."""
        return report_line(self.counts)


def report_line(counts: Mapping[str, int]) -> str:
    """What a server says at its end, of its counts by kind."""
    return "faults fired: " + (" ".join(f"{kind}={count}" for kind, count in counts.items()) or "none")
