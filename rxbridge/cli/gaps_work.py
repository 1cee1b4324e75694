"""What `rxbridge gaps` does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
import typer

from rxbridge.audit import acknowledge_gaps, acknowledged_gaps, is_acknowledged, unexplained
from rxbridge.cli.journals import maintaining, reading
from rxbridge.cli.options import arguments
from rxbridge.cli.printing import moment, plain, print_table, progress
from rxbridge.config import load
from rxbridge.confirmation import read_frames
from rxbridge.journal import Gap, Journal, MarketGap
from rxbridge.telemetry.logging import configure

_HEADERS = ("recorded", "kind", "of", "from", "to", "length", "why")


class _Row(msgspec.Struct):
    """A gap of either kind, as it is shown. Of a JSON object these are the names.

    Attributes:
        kind: `trades` or `quotes`, of the market; `dropped`, `corrupt` or `quarantined`, of the journal.
        products: Whose; empty for a gap of the journal, which may have held any.
        channel: Coinbase's; empty likewise.
        first: The first missing trade id; the last frame before, ISO 8601; or the first lost offset.
        last: The last missing trade id; the first frame after; or the last lost offset.
        length: Trades, seconds or frames.
        unit: Which of these.
        events: How many events lost frames would have made, as far as that is known.
        reason: Why.
        recorded_at: ISO 8601, UTC.
        acknowledged: Whether somebody has taken note of it.
    """

    kind: str
    products: tuple[str, ...]
    channel: str
    first: int | str
    last: int | str
    length: float
    unit: str
    events: int
    reason: str
    recorded_at: str
    acknowledged: bool = False


def list_gaps(
    config: Path | None, journal: Path | None, *, kinds: Collection[str], products: Collection[str], as_json: bool
) -> None:
    """Print the gaps that fit, oldest first within the market and within the journal."""
    settings = load(config, arguments(journal=journal))
    configure(form=settings.log.format)
    with reading(settings) as opened:
        rows = (row for row in _rows(opened) if _fits(row, kinds, products))
        if as_json:
            for row in rows:
                typer.echo(msgspec.json.encode(row).decode())
            return
        found = list(rows)
    if not found:
        typer.echo("no gap is on record" + (" that fits" if kinds or products else ""))
        return
    print_table(_HEADERS, map(_cells, found))


def acknowledge_damage(config: Path | None, journal: Path | None, *, sure: bool) -> None:
    """Note the gaps that the journal's file has lost frames by, once somebody says so."""
    settings = load(config, arguments(journal=journal))
    configure(form=settings.log.format)
    with maintaining(settings) as opened, reading(settings) as looked_through:
        # Damage is found by reading; what nobody has read since is on no record yet.
        size = looked_through.size()
        with progress("looking through") as report:
            for frame in read_frames(looked_through, 0, size.last_offset):
                if frame.offset % 10_000 == 0:
                    report("the journal", frame.offset - size.first_offset, size.last_offset - size.first_offset)
        gaps = unexplained(looked_through)
        if not gaps:
            typer.echo("there is no gap that needs to be acknowledged")
            return
        print_table(_HEADERS, [_cells(_journal_row(gap, acknowledged=False)) for gap in gaps])
        if not sure:
            typer.confirm("Their frames are lost for good. Take note of that?", abort=True, err=True)
        acknowledge_gaps(opened, gaps)
    typer.echo(f"acknowledged {len(gaps)} gaps; an audit tells of them and no longer fails because of them")


def _rows(journal: Journal) -> Iterator[_Row]:
    for gap in journal.market_gaps():
        yield _market_row(gap)
    known = acknowledged_gaps(journal)
    for gap in journal.gaps():
        yield _journal_row(gap, acknowledged=is_acknowledged(gap, known))


def _fits(row: _Row, kinds: Collection[str], products: Collection[str]) -> bool:
    return (not kinds or row.kind in kinds) and (not products or any(product in products for product in row.products))


def _market_row(gap: MarketGap) -> _Row:
    trades = gap.kind == "trades"
    return _Row(
        kind=gap.kind,
        products=gap.products,
        channel=gap.channel,
        first=gap.first if trades else moment(gap.first, milliseconds=True),
        last=gap.last if trades else moment(gap.last, milliseconds=True),
        length=gap.last - gap.first + 1 if trades else round((gap.last - gap.first) / 1e9, 3),
        unit="trades" if trades else "seconds",
        events=0,
        reason=gap.reason,
        recorded_at=moment(gap.recorded_at),
    )


def _journal_row(gap: Gap, *, acknowledged: bool) -> _Row:
    return _Row(
        kind=gap.kind,
        products=(),
        channel="",
        first=gap.first_offset,
        last=gap.last_offset,
        length=gap.frames,
        unit="frames",
        events=gap.events,
        reason=gap.reason,
        recorded_at=moment(gap.recorded_at),
        acknowledged=acknowledged,
    )


def _cells(row: _Row) -> tuple[str, ...]:
    whose = f"{', '.join(row.products)} {row.channel}" if row.products else "the journal"
    why = row.reason + (f"; {row.events} events" if row.events else "") + ("; acknowledged" if row.acknowledged else "")
    return (
        row.recorded_at,
        row.kind,
        plain(whose),
        str(row.first),
        str(row.last),
        f"{row.length:g} {row.unit}" if row.unit == "seconds" else f"{int(row.length)} {row.unit}",
        plain(why),
    )
