"""A sink that keeps the newest items as rows of a table."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, cast, overload

import msgspec
from reactivex.abc import ObserverBase

from rxbridge.messages import MessageBase
from rxbridge.tables import html_table

_SHOWN = 10


class Rows(ObserverBase[object], Sequence[dict[str, Any]]):
    """The newest items, each a dict: a sequence that grows meanwhile, and that data frames are made of.

        rows = Rows()
        connection = connect(coinbase.tickers(["BTC-USD"])).to(rows)
        pandas.DataFrame(rows)          # or polars.DataFrame(rows.columns())

    A message gives its fields, and `received_at` (nanoseconds since the Unix epoch); a mapping, a dataclass, a named
    tuple or a Struct its own; anything else is the field `value`. Numbers stay as they are: a message's are text.
    The end of a stream ends nothing here: with another one, the same rows go on growing.

    Args:
        most: How many are kept; of more, the oldest are forgotten.

    Raises:
        ValueError: `most` is not positive.
    """

    def __init__(self, most: int = 100_000) -> None:
        if most < 1:
            raise ValueError(f"most must be positive: {most}")
        self._rows: deque[dict[str, Any]] = deque(maxlen=most)
        self._lock = threading.Lock()

    def on_next(self, value: object) -> None:
        """Keep an item."""
        row = _row(value)
        with self._lock:
            self._rows.append(row)

    def on_error(self, error: Exception) -> None:
        """The rows stay. Whoever connected is told of the error."""

    def on_completed(self) -> None:
        """The rows stay."""

    def columns(self) -> dict[str, list[Any]]:
        """The same by column: None where a row has no such field."""
        rows = self._snapshot()
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._snapshot())

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._rows[index] if isinstance(index, int) else self._snapshot()[index]

    def __repr__(self) -> str:
        rows = self._snapshot()
        return f"<Rows: {len(rows):,}>" if not rows else f"<Rows: {len(rows):,}, the last one {rows[-1]}>"

    def _repr_html_(self) -> str:
        rows = self._snapshot()
        names = list(dict.fromkeys(name for row in rows[-_SHOWN:] for name in row))
        shown = [[row.get(name) for name in names] for row in rows[-_SHOWN:]]
        return html_table(f"{len(rows):,} rows, the newest below", names, shown)

    def _snapshot(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._rows)


def _row(item: object) -> dict[str, Any]:
    if isinstance(item, MessageBase):
        hidden = ("frame", "part")
        row = {name: getattr(item, name) for name in item.__struct_fields__ if name not in hidden}
        return row | {"received_at": item.frame.received_at}
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] anything may be in it
    if isinstance(item, msgspec.Struct):
        return msgspec.structs.asdict(item)
    if is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in fields(item)}
    if callable(getattr(item, "_asdict", None)):  # a named tuple
        return cast("NamedTuple", item)._asdict()
    return {"value": item}
