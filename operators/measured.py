"""An item, and a number that was computed of it and of those before it."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

A = TypeVar("A")
N = TypeVar("N")


class Measured(NamedTuple, Generic[A, N]):
    """An item and its value: an exact Decimal or a float, as the operator says."""

    item: A
    value: N
