"""How things are shown to whoever looks at them in a notebook: in a line, or as a small HTML table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

_LONGEST_CELL = 60


def html_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a title; everything in it is escaped, as it may be from outside, and cut to sixty characters."""
    head = "".join(f"<th>{_cell(name)}</th>" for name in headers)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    heading = f"<thead><tr>{head}</tr></thead>" if headers else ""
    return f"<table><caption>{escape(title)}</caption>{heading}<tbody>{body}</tbody></table>"


def brief(value: object) -> str:
    """The repr of a value, cut to sixty characters."""
    text = repr(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def moment(nanoseconds: int) -> str:
    """A time in nanoseconds since the Unix epoch, in ISO 8601, to the microsecond; the number, if it is no time."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return str(nanoseconds)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return escape(text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…")
