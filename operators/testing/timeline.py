"""What happened when: written as marbles, compared, and told apart in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Generic, Literal, TypeVar, cast, overload

A = TypeVar("A")
B = TypeVar("B")
A_co = TypeVar("A_co", covariant=True)

Kind = Literal["item", "error", "completion"]

_DIGITS = 6  # of a second: schedulers keep the time in microseconds
_TOKEN = re.compile(r"\([^()]*\)|-+|[|#]|[^-()|#,]+|.")


@dataclass(frozen=True, eq=False)
class Moment(Generic[A_co]):
    """One notification and its time.

    Two are equal at the same microsecond, with equal items, or with errors of the same type and text.

    Attributes:
        time: Seconds of virtual time.
        kind: What it is.
        value: The item; None if it is none.
        error: The error; None if it is none.
    """

    time: float
    kind: Kind
    value: A_co | None = None
    error: Exception | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and self._compared() == cast("Moment[object]", other)._compared()

    def __hash__(self) -> int:
        return hash((round(self.time, _DIGITS), self.kind))

    def _compared(self) -> tuple[object, ...]:
        return round(self.time, _DIGITS), self.kind, self.value, type(self.error), str(self.error)

    def __str__(self) -> str:
        what = {"item": f"{self.value!r}", "error": f"failed with {self.error!r}", "completion": "completed"}
        return f"{self.time:g} s: {what[self.kind]}"


@dataclass(frozen=True)
class Timeline(Generic[A]):
    """Moments in their order.

    Example:
        >>> print(timeline("a-b-|"))
        0 s: 'a'
        2 s: 'b'
        4 s: completed
    """

    moments: tuple[Moment[A], ...] = ()

    def __iter__(self) -> Iterator[Moment[A]]:
        return iter(self.moments)

    def __len__(self) -> int:
        return len(self.moments)

    def __str__(self) -> str:
        return "\n".join(map(str, self.moments)) or "nothing happened"

    @property
    def items(self) -> list[A]:
        """What was emitted, without the times."""
        return [cast("A", moment.value) for moment in self.moments if moment.kind == "item"]

    def map(self, function: Callable[[float, A], B]) -> Timeline[B]:
        """The same with other items, each made of its time in seconds and what it was."""
        mapped: list[Moment[B]] = []
        for moment in self.moments:
            value = function(moment.time, cast("A", moment.value)) if moment.kind == "item" else None
            mapped.append(Moment(moment.time, moment.kind, value, moment.error))
        return Timeline(tuple(mapped))


@overload
def timeline(
    marbles: str, values: None = None, /, *, tick: float = 1.0, error: Exception | None = None
) -> Timeline[Any]: ...
@overload
def timeline(
    marbles: str, values: Mapping[str, A], /, *, tick: float = 1.0, error: Exception | None = None
) -> Timeline[A]: ...
@overload
def timeline(marbles: str, /, *, tick: float = 1.0, error: Exception | None = None, **named: A) -> Timeline[A]: ...
def timeline(
    marbles: str,
    values: Mapping[str, Any] | None = None,
    /,
    *,
    tick: float = 1.0,
    error: Exception | None = None,
    **named: Any,
) -> Timeline[Any]:
    """Read a marble text; the notation is that of `reactivex.cold`.

    A character is a tick: `-` is time passing, `|` the completion, `#` the error, and a run of others is an item, whose
    first character is its time. `(a,b,c)` are items at one time, that of the bracket. Spaces do not count.

    Example:
        >>> timeline("a--(b,c)|", a=1, b=2, c=3).items
        [1, 2, 3]
        >>> [moment.time for moment in timeline("10-20|", tick=0.5)]
        [0.0, 1.5, 2.5]

    Args:
        marbles: The text.
        values: What the items stand for, where their names are not words of Python; otherwise give them by name.
            Without any, an item is the number that it is written as, or its text.
        tick: Seconds for a character.
        error: What `#` stands for; `Exception("error")` if not given.
        named: More values.

    Raises:
        ValueError: The text is no marbles, has an item that is not among the values, or lacks one that is.
    """
    lookup = {**(values or {}), **named}
    moments: list[Moment[Any]] = []
    used: set[str] = set()
    position = 0
    for token in _TOKEN.findall(marbles.replace(" ", "")):
        if not token.startswith("-"):
            for name in token.strip("()").split(",") if token.startswith("(") else [token]:
                if moments and moments[-1].kind != "item":
                    raise ValueError(f"{marbles!r} goes on after its end")
                used.add(name)
                moments.append(_moment(round(position * tick, _DIGITS), name, lookup, error, marbles))
        position += len(token)
    if unused := lookup.keys() - used:
        raise ValueError(f"{marbles!r} has no {', '.join(sorted(unused))}")
    return Timeline(tuple(moments))


def _moment(time: float, name: str, lookup: Mapping[str, Any], error: Exception | None, marbles: str) -> Moment[Any]:
    if name == "|":
        return Moment(time, "completion")
    if name == "#":
        return Moment(time, "error", error=error or Exception("error"))
    if not name or name in "(),":
        raise ValueError(f"{marbles!r} is no marbles: {name!r} stands alone")
    if name in lookup:
        return Moment(time, "item", lookup[name])
    if lookup:
        raise ValueError(f"{marbles!r} has {name}, and there are values for {', '.join(sorted(lookup))}")
    for number in (int, float):
        try:
            return Moment(time, "item", number(name))
        except ValueError:
            continue
    return Moment(time, "item", name)


def assert_timeline(got: Timeline[A], expected: Timeline[A]) -> None:
    """Raise if two timelines differ, and say where: `-` is what is missing, `+` what should not be there.

    Example:
        >>> assert_timeline(timeline("a-b-|"), timeline("a--b|"))
        Traceback (most recent call last):
        AssertionError: not what was expected (- missing, + unexpected):
            0 s: 'a'
          - 3 s: 'b'
          + 2 s: 'b'
            4 s: completed

    Raises:
        AssertionError: They differ.
    """
    if got == expected:
        return
    lines: list[str] = []
    matcher = SequenceMatcher(None, expected.moments, got.moments, autojunk=False)
    for tag, first, last, first_got, last_got in matcher.get_opcodes():
        if tag == "equal":
            lines += [f"    {moment}" for moment in expected.moments[first:last]]
        else:
            lines += [f"  - {moment}" for moment in expected.moments[first:last]]
            lines += [f"  + {moment}" for moment in got.moments[first_got:last_got]]
    raise AssertionError("\n".join(["not what was expected (- missing, + unexpected):", *lines]))
