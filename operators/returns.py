"""By how much a price has changed, relative to the one before."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from decimal import Decimal
from math import isfinite, log1p
from typing import Literal, TypeVar

from reactivex import Observable

from operators._exact import EXACT, ROUNDED, Number, exact
from operators._measure import measure
from operators._per_key import PerKey
from operators.measured import Measured

A = TypeVar("A")

_NEAR = Decimal("0.5")
"""Relative changes up to this are logarithms of something near 1."""


def returns(
    value: Callable[[A], Number | None],
    key: Callable[[A], Hashable],
    *,
    kind: Literal["simple", "log"] = "simple",
    most_keys: int = 10_000,
    otherwise: Callable[[A], None] | None = None,
    failed: Callable[[A, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[Measured[A, float]]]:
    """Pair each item with the return since the item of its key that came before.

        source     100--110--99--|
                       returns(value, key)
        result     -----0.1--0.1-|    the last is negative; each with its item
        otherwise  100-----------|

    The simple return is the difference divided by the price before, and the logarithmic one the natural logarithm of
    the quotient of both: of a row of returns the log ones can be added up, and of a portfolio the simple ones (J. Y.
    Campbell, A. W. Lo and A. C. MacKinlay, "The Econometrics of Financial Markets", 1997, section 1.4). The difference
    is exact. The return is a float, since a quotient and a logarithm mostly have no last digit; it is made of the
    exact difference, so that all its digits are right also where two prices have the first ten in common.

    Laws:
        Every item is either emitted, or told to `otherwise`, or to `failed`; order is kept.
        Prices in another unit have the same returns.
        The sum of a key's log returns is the logarithm of its last price over its first; and the log return is that of
        1 plus the simple one.
        Memory is one number for each of `most_keys` keys; the one that did not come for the longest is forgotten first,
        and begins anew.

    Example:
        >>> import reactivex
        >>> prices = reactivex.of("100", "110", "99")
        >>> _ = prices.pipe(returns(lambda price: price, lambda _: "BTC-USD")).subscribe(lambda result: print(result))
        Measured(item='110', value=0.1)
        Measured(item='99', value=-0.1)

    Args:
        value: The price, positive: a Decimal, an int, decimal text, or a float, which is read as it is written. What is
            no such number, or None, is a failure of the item, and the next return is since the one before it: Coinbase
            says "0" of what was never traded.
        key: What the item is about, such as the product. An exception is a failure of the item.
        kind: Which return.
        most_keys: How many keys to know.
        otherwise: Told of each item that has no return, since it is the first of its key. What it raises is the
            stream's error.
        failed: Told of each item that could not be read, and why; the stream lives on without it. Without `failed`, the
            exception is the stream's error, and so is what it raises itself.

    Raises:
        ValueError: `kind` is neither, or `most_keys` is not positive.
    """
    if kind not in ("simple", "log") or most_keys < 1:
        raise ValueError(f"kind={kind!r}, most_keys={most_keys}")
    compute = _log if kind == "log" else _simple

    def make() -> Callable[[A], Measured[A, float] | None]:
        prices = PerKey(lambda _: _Price(), most_keys)

        def since(item: A) -> Measured[A, float] | None:
            price = exact(value(item))
            if price <= 0:
                raise ValueError(f"no positive price: {price}")
            last = prices.of(key(item))
            before, last.price = last.price, price
            return None if before is None else Measured(item, compute(before, price))

        return since

    return measure(make, failed, otherwise)


class _Price:
    __slots__ = ("price",)

    def __init__(self) -> None:
        self.price: Decimal | None = None


def _simple(before: Decimal, price: Decimal) -> float:
    change = float(ROUNDED.divide(EXACT.subtract(price, before), before))
    if not isfinite(change):
        raise ValueError(f"too large a change: from {before} to {price}")
    return change


def _log(before: Decimal, price: Decimal) -> float:
    change = ROUNDED.divide(EXACT.subtract(price, before), before)
    if -_NEAR < change < _NEAR:
        return log1p(float(change))
    return float(ROUNDED.ln(ROUNDED.divide(price, before)))
