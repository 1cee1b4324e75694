"""One entry of a schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import count
from types import MappingProxyType

from rxbridge.errors import ConfigError
from rxbridge.faults.kinds import KINDS, Kind, Side, Value, is_number, is_whole
from rxbridge.suggestions import nearest

TIMING = ("at", "seconds", "every", "times", "probability", "side")
"""What every kind can be told."""


class Fault:
    """What goes wrong, when, how often, and with which parameters. Immutable; two that say the same are equal.

        Fault("close", at=5.0, every=5.0, code=1012)      # every 5 seconds
        Fault("drop", probability=0.02)                   # one frame in 50, from the start to the end
        Fault("rest_500", at=10.0, seconds=3.0)           # every request, for 3 seconds

    Attributes:
        kind: What goes wrong: a name in `KINDS`.
        at: When it first begins: seconds after the server is ready.
        seconds: How long it lasts. None: to its next beginning or the end; or, for a momentary kind, no time at all.
        every: It begins again each so many seconds. None: it begins once.
        times: How often it happens each time it has begun, at most. None: without a limit.
        probability: How likely each frame, request or connection is to be hit while it lasts, above 0.
        side: The side that commits it; None for each that knows the kind.
        parameters: All parameters of the kind, defaults included.
    """

    __slots__ = ("_given", "at", "every", "kind", "parameters", "probability", "seconds", "side", "times")

    def __init__(
        self,
        kind: str,
        *,
        at: float = 0.0,
        seconds: float | None = None,
        every: float | None = None,
        times: int | None = None,
        probability: float = 1.0,
        side: Side | None = None,
        **parameters: Value,
    ) -> None:
        """Make an entry; None for a parameter is as good as leaving it out.

        Raises:
            ConfigError: A kind or a parameter is not known, or a value makes no sense.
        """
        self.kind: str = kind
        self.at: float = at
        self.seconds: float | None = seconds
        self.every: float | None = every
        self.times: int | None = times
        self.probability: float = probability
        self.side: Side | None = side
        self._given = {name: value for name, value in parameters.items() if value is not None}
        kinds = _kinds(kind, side)
        self._check_timing()
        self.parameters: Mapping[str, Value] = MappingProxyType(_with_defaults(kind, kinds, self._given))
        if every is not None and seconds is None and times is None and not all(known.momentary for known in kinds):
            hint = 'On the feed it takes no time: say side = "feed"' if any(known.momentary for known in kinds) else ""
            raise ConfigError("every", "needs `seconds` or `times` beside it", hint or "Without them it never ends")

    def number(self, name: str) -> float:
        """A parameter that is a number.

        Raises:
            TypeError: It is none.
        """
        value = self.parameters[name]
        if not isinstance(value, int | float):
            raise TypeError(f"{name} of {self!r} is no number")
        return float(value)

    def whole(self, name: str) -> int:
        """A parameter that is a whole number.

        Raises:
            TypeError: It is none.
        """
        value = self.parameters[name]
        if not isinstance(value, int):
            raise TypeError(f"{name} of {self!r} is no whole number")
        return value

    def text(self, name: str) -> str:
        """A parameter that is text.

        Raises:
            TypeError: It is none.
        """
        value = self.parameters[name]
        if not isinstance(value, str):
            raise TypeError(f"{name} of {self!r} is no text")
        return value

    def written(self) -> dict[str, Value]:
        """What a file would say: `kind` and all that is not as it would be anyway."""
        usual: dict[str, Value] = {"at": 0.0, "probability": 1.0}
        timing: dict[str, Value] = {name: getattr(self, name) for name in TIMING}
        said = {name: value for name, value in timing.items() if value != usual.get(name)}
        return {"kind": self.kind, **said, **self._given}

    def beginnings(self) -> Iterator[float]:
        """When it begins, in seconds after the server is ready, ascending; without end if there is `every`."""
        if self.every is None:
            yield self.at
            return
        for number in count():
            yield self.at + number * self.every

    def occurrence(self, elapsed: float) -> int | None:
        """Which of its beginnings, counted from 0, it still lasts from after `elapsed` seconds; None if it does not.

        For one without a duration that is the last beginning there was.
        """
        since = elapsed - self.at
        if since < 0:
            return None
        number = 0 if self.every is None else int(since // self.every)
        within = since if self.every is None else since - number * self.every
        return None if self.seconds is not None and within >= self.seconds else number

    def end(self, occurrence: int) -> float:
        """When it ends, having begun for the `occurrence`-th time, counted from 0; infinity if it does not."""
        begins = self.at + occurrence * (self.every or 0.0)
        return math.inf if self.seconds is None else begins + self.seconds

    def _check_timing(self) -> None:
        _require("at", self.at, "seconds, 0 or more", valid=is_number(self.at) and self.at >= 0)
        for name, value in (("seconds", self.seconds), ("every", self.every)):
            _require(name, value, "seconds, above 0", valid=value is None or (is_number(value) and value > 0))
        _require("times", self.times, "a whole number, 1 or more", valid=self.times is None or is_whole(self.times, 1))
        likely = is_number(self.probability) and 0 < self.probability <= 1
        _require("probability", self.probability, "a number above 0, up to 1", valid=likely)
        if (self.seconds or 0) > (self.every or math.inf):
            raise ConfigError("seconds", f"{self.seconds} is longer than every {self.every}")

    def __eq__(self, other: object) -> bool:
        return self.written() == other.written() if isinstance(other, Fault) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.written().items()))

    def __repr__(self) -> str:
        said = self.written()
        del said["kind"]
        return f"Fault({', '.join([repr(self.kind), *(f'{name}={value!r}' for name, value in said.items())])})"


def _require(name: str, value: object, takes: str, *, valid: bool) -> None:
    if not valid:
        raise ConfigError(name, f"{value!r} is no value for it: it takes {takes}")


def _kinds(kind: str, side: Side | None) -> list[Kind]:
    """What is known of a kind, on the one side, or on both."""
    if side is not None and side not in tuple(KINDS):
        raise ConfigError("side", f"unknown side {side!r}{nearest(str(side), list(KINDS))}")
    sides = KINDS.values() if side is None else [KINDS[side]]
    found = [kinds[kind] for kinds in sides if kind in kinds]
    if not found:
        where = "" if side is None else f" of the {side}"
        known = sorted({name for kinds in sides for name in kinds})
        raise ConfigError("kind", f"unknown fault {kind!r}{where}{nearest(str(kind), known)}")
    return found


def _with_defaults(kind: str, kinds: list[Kind], given: Mapping[str, Value]) -> dict[str, Value]:
    known = {name: parameter for one in kinds for name, parameter in one.parameters.items()}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(name, f"unknown parameter of {kind!r}{nearest(name, [*known, *TIMING])}")
        _require(name, value, known[name].takes, valid=known[name].accepts(value))
    for name, parameter in known.items():
        if parameter.required and name not in given:
            raise ConfigError(name, f"{kind!r} needs it: {parameter.takes}")
    return {name: given.get(name, parameter.default) for name, parameter in known.items()}
