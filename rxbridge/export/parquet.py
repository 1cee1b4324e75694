"""Rows to Parquet, by DuckDB, in memory that does not grow with them.

Rows are staged as JSON lines in a temporary folder beside the target; DuckDB then sorts them, each once, with the disk
where memory is not enough. A file is there whole, under its name, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from rxbridge.coinbase.decoding import decode
from rxbridge.errors import ConfigError, ExportError, MalformedFrame, MissingExtra
from rxbridge.export.rows import COLUMNS, MOMENT, Kind, RowMaker
from rxbridge.export.staging import staging_folder
from rxbridge.messages import Frame

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "512MB"
"""What DuckDB may take. It goes to the temporary folder beyond that."""

_TOLD_EVERY = 5_000

_KEPT: Mapping[Kind, tuple[str, str]] = {
    # A trade comes again with a reconnection, or by REST: it is the same. Tickers are in the order of their receipt.
    "trades": ("PARTITION BY event_id ORDER BY number", "product_id, trade_id, number"),
    "tickers": ("PARTITION BY event_id ORDER BY number", "number"),
    # The current candle comes again and again, revised: the last one counts.
    "candles": (
        "PARTITION BY product_id, coalesce(start::VARCHAR, event_id) ORDER BY number DESC",
        "product_id, start",
    ),
}
"""Of each kind, which of the rows that are the same thing counts, as a window of which it is the first; and the order.
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported.

    Attributes:
        rows: In the file of each kind.
        frames: Read.
        malformed: Frames that could not be read, and are left out.
        invalid: Values that have no place in their column, and are null.
    """

    rows: Mapping[Kind, int]
    frames: int
    malformed: int
    invalid: int


def export(
    frames: Iterable[Frame],
    targets: Mapping[Kind, Path],
    *,
    products: Iterable[str] = (),
    progress: Callable[[int, Frame], None] | None = None,
) -> Exported:
    """Write the trades, tickers or candles of frames to Parquet files, each once, and in order.

    Args:
        frames: In the order of their receipt.
        targets: The file of each kind that is wanted; none of them may be there.
        products: Only these; none for all.
        progress: Told from time to time how many frames were read, and of the newest.

    Raises:
        MissingExtra: The package duckdb is not installed.
        ConfigError: A file is there already.
        ExportError: A file cannot be written.
    """
    for target in targets.values():
        if target.exists():
            raise ConfigError("--to", f"{target} is there already, and is not written over")
    connection = _connect()
    folder = next(iter(targets.values())).absolute().parent
    try:
        with closing(connection), staging_folder(folder) as temporary:
            staging = _Staging(temporary, targets, frozenset(products))
            with staging:
                staging.take(frames, progress)
            connection.execute(f"SET memory_limit = '{MEMORY}'")
            connection.execute(f"SET temp_directory = {_quoted(str(temporary))}")
            rows: dict[Kind, int] = {
                kind: _write(connection, kind, temporary, target) for kind, target in targets.items()
            }
    except OSError as error:
        raise ExportError(str(folder), error.strerror or str(error)) from error
    return Exported(rows, staging.frames, staging.malformed, staging.maker.invalid)


class _Staging:
    """Writes the rows of each kind to a file of their own."""

    def __init__(self, folder: Path, kinds: Iterable[Kind], products: frozenset[str]) -> None:
        self.frames = self.malformed = 0
        self.maker = RowMaker()
        self._folder = folder
        self._kinds = kinds
        self._products = products
        self._files: dict[Kind, BinaryIO] = {}
        self._opened = ExitStack()

    def __enter__(self) -> None:
        for kind in self._kinds:
            self._files[kind] = self._opened.enter_context(_staged(self._folder, kind).open("wb"))

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def take(self, frames: Iterable[Frame], progress: Callable[[int, Frame], None] | None) -> None:
        encode, number = msgspec.json.encode, 0
        for frame in frames:
            self.frames += 1
            if progress is not None and self.frames % _TOLD_EVERY == 0:
                progress(self.frames, frame)
            try:
                messages = decode(frame)
            except MalformedFrame:
                self.malformed += 1
                continue
            for message in messages:
                made = self.maker.row(message)
                if made is None or (file := self._files.get(made[0])) is None:
                    continue
                row = made[1]
                if not self._products or row["product_id"] in self._products:
                    number += 1
                    row["number"] = number
                    file.write(encode(row) + b"\n")


def _write(connection: DuckDBPyConnection, kind: Kind, folder: Path, target: Path) -> int:
    """Make the file of a kind; how many rows it has."""
    import duckdb  # noqa: PLC0415  (installed only with an extra)

    columns = COLUMNS[kind]
    staged = {name: _staged_type(column) for name, column in columns.items()} | {"number": "BIGINT"}
    typed = ", ".join(
        f"make_timestamp_ns({name}) AS {name}" if column == MOMENT else f"CAST({name} AS {column}) AS {name}"
        for name, column in columns.items()
    )
    same, order = _KEPT[kind]
    schema = ", ".join(f"{name}: '{column}'" for name, column in staged.items())
    # The names are our own, and the paths are quoted.
    rows = f"read_json({_quoted(str(_staged(folder, kind)))}, format = 'newline_delimited', columns = {{{schema}}})"
    query = f"SELECT {typed} FROM {rows} QUALIFY row_number() OVER ({same}) = 1 ORDER BY {order}"  # noqa: S608
    made = folder / f"{kind}.parquet"
    try:
        copied = connection.execute(f"COPY ({query}) TO {_quoted(str(made))} (FORMAT parquet, COMPRESSION zstd)")
        (count,) = copied.fetchone() or (0,)
        # A link fails where somebody else has made the file meanwhile.
        os.link(made, target)
    except duckdb.Error as error:
        raise ExportError(str(target), str(error)) from error
    return int(count)


def _connect() -> DuckDBPyConnection:
    try:
        import duckdb  # noqa: PLC0415  (installed only with an extra)
    except ModuleNotFoundError as error:
        raise MissingExtra("duckdb", "export") from error
    # What is needed is built in: nothing is looked for in the network.
    return duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})


def _staged(folder: Path, kind: Kind) -> Path:
    return folder / f"{kind}.jsonl"


def _staged_type(column: str) -> str:
    if column == MOMENT:
        return "BIGINT"
    return "VARCHAR" if column.startswith("DECIMAL") else column


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
