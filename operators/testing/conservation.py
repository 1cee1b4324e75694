"""The proof that nothing was lost, nothing doubled, and the order kept."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

A = TypeVar("A")

_MOST_SHOWN = 10

_Place = tuple[str, int]
"""Where an item is found: what it was for, and its number there, from 1."""


def assert_conserved(
    received: Iterable[A],
    emitted: Iterable[A],
    *,
    key: Callable[[A], Hashable] | None = None,
    order_within: Callable[[A], Hashable] | None = None,
    **accounted: Iterable[A],
) -> None:
    """Raise unless each item that was received was either emitted or accounted for: once, and in order.

    Order means that what was emitted, and each account by itself, follow each other as they were received.

    Example:
        >>> assert_conserved("abcd", "acd", dropped="b")
        >>> assert_conserved("abcd", "dcc", dropped="b", failed="")
        Traceback (most recent call last):
        AssertionError: not conserved: 4 received, 3 emitted, 1 dropped, 0 failed
          lost: 'a', received as number 1
          not received so often: 'c', emitted as number 3
          out of order: 'c', emitted as number 2, after 'd'

    Args:
        received: What went in.
        emitted: What came out. Flatten lists yourself.
        key: What makes two items the same, such as their id; by default, that they are equal (or, where they have no
            hash, that their `repr` is).
        order_within: What the order is kept within, such as the product; by default, everything.
        accounted: What was dropped, failed, conflated, or otherwise told of, each under its name.

    Raises:
        AssertionError: Something was lost, came twice, came of nothing, or overtook another.
    """
    name_of = key or _itself
    ins = list(received)
    outs = {"emitted": list(emitted), **{name: list(items) for name, items in accounted.items()}}
    given: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, item in enumerate(ins, 1):
        given[name_of(item)].append(number)
    places: defaultdict[Hashable, list[_Place]] = defaultdict(list)
    for name, items in outs.items():
        for number, item in enumerate(items, 1):
            places[name_of(item)].append((name, number))
    troubles = [
        *_lost(ins, places, name_of),
        *_too_many(outs, given, places),
        *(line for name, items in outs.items() for line in _overtaken(name, items, given, name_of, order_within)),
    ]
    if troubles:
        counts = ", ".join(f"{len(items)} {name}" for name, items in outs.items())
        more = [f"  and {len(troubles) - _MOST_SHOWN} more"] if len(troubles) > _MOST_SHOWN else []
        head = f"not conserved: {len(ins)} received, {counts}"
        raise AssertionError("\n".join([head, *(f"  {line}" for line in troubles[:_MOST_SHOWN]), *more]))


def _itself(item: object) -> Hashable:
    try:
        hash(item)
    except TypeError:
        return repr(item)
    return item


def _lost(
    ins: Sequence[A],
    places: dict[Hashable, list[_Place]],
    name_of: Callable[[A], Hashable],
) -> Iterable[str]:
    times: Counter[Hashable] = Counter()
    for number, item in enumerate(ins, 1):
        same = name_of(item)
        times[same] += 1
        # Of several that are the same, the last ones are taken for lost: which it was, nobody can tell.
        if times[same] > len(places.get(same, ())):
            yield f"lost: {item!r}, received as number {number}"


def _too_many(
    outs: dict[str, list[A]], given: dict[Hashable, list[int]], places: dict[Hashable, list[_Place]]
) -> Iterable[str]:
    for same, found in places.items():
        times = len(given.get(same, ()))
        for name, number in found[times:]:
            why = "not received so often" if times else "never received"
            yield f"{why}: {outs[name][number - 1]!r}, {name} as number {number}"


def _overtaken(
    name: str,
    items: Sequence[A],
    given: dict[Hashable, list[int]],
    name_of: Callable[[A], Hashable],
    order_within: Callable[[A], Hashable] | None,
) -> Iterable[str]:
    """What comes after something that was received later: it finds no place of its own behind that in `given`."""
    last: dict[Hashable, tuple[int, A]] = {}
    times: Counter[Hashable] = Counter()
    for number, item in enumerate(items, 1):
        group = order_within(item) if order_within else None
        received = given.get(name_of(item), [])
        times[name_of(item)] += 1
        if times[name_of(item)] > len(received):
            continue  # one too many has no place in the order, and is told of as such
        reached, before = last.get(group, (0, item))
        place = bisect_right(received, reached)
        if place < len(received):
            last[group] = (received[place], item)
        else:
            yield f"out of order: {item!r}, {name} as number {number}, after {before!r}"
