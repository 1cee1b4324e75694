"""Exact numbers of what a message says."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import TypeAlias

Number: TypeAlias = Decimal | int | float | str

# Neither the thread's context, in which somebody may have lowered the precision, nor one that rounds: no price has so
# many digits.
EXACT = Context(prec=200, traps=[InvalidOperation])

# For quotients, which mostly have no last digit: as many digits as Decimals have by default, whatever the thread's
# context is.
ROUNDED = Context(prec=28)


def exact(value: Number | None) -> Decimal:
    """The number that was written: a float is the shortest decimal that reads as it.

    Raises:
        ValueError: It is no number, or not a finite one.
        TypeError: It is of another type, such as None.
    """
    if value is None:
        raise TypeError("no number: None")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError(f"no number: {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"no finite number: {value!r}")
    return number
