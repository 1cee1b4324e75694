"""What the audit asks of that which nobody can fetch again, quotes and books: what was lost of them is on record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from rxbridge.journal import MarketGap
from rxbridge.messages import OWN_CONNECTION, line_of
from tests.chaos.books import Books, Kind
from tests.chaos.kinds import BOOKS, FILE_FAULTS, KINDS, PRODUCTS
from tests.chaos.schedule import Schedule
from tests.chaos.stage import Stage

_MIXED = frozenset({"reorder", "duplicate"})
"""What brings the changes of a book in another order."""


def has_exact_books(schedule: Schedule) -> bool:
    """Whether nothing in a schedule makes a book wrong, or wait for a snapshot that may not come for long.

    The numbers of Advanced Trade tell of frames that are lost, and the bridge then connects anew.
    """
    kinds = schedule.kinds
    may_miss = any(KINDS[kind].dead_letters and KINDS[kind].side == "feed" for kind in kinds) or kinds & FILE_FAULTS
    if schedule.feed == "exchange":
        may_miss = may_miss or any(KINDS[kind].loses_frames or kind in _MIXED for kind in kinds)
    return not may_miss


def vanished(stage: Stage, rows: Counter[str], books: Books) -> Iterator[str]:
    """What was lost and nobody told of, in words."""
    if stage.schedule.connections > 1:
        yield from outages(stage.schedule, books)
        return
    if stage.schedule.feed == "exchange":
        yield from _tickers(stage, rows, books)
    yield from lost_frames(stage.schedule, books)
    yield from disconnects(stage.schedule, books)


def outages(schedule: Schedule, books: Books) -> Iterator[str]:
    """Where several connections bring the same: when none of them brought anything, there must be a gap of everything.

    A clock that is set says nothing of when that was, nor does a journal that has lost frames.
    """
    if "step" in schedule.kinds or books.gaps:
        return
    received = {connection: times for connection, times in books.times.items() if connection != OWN_CONNECTION}
    # Of the last connection of each line nobody knows that it has ended.
    newest = {line_of(connection): connection for connection in received}
    end = max([max(times) for times in received.values()], default=0)
    spans = sorted(
        (min(times), end if newest[line_of(connection)] == connection else max(times))
        for connection, times in received.items()
    )
    silences: list[tuple[int, int]] = []
    until = spans[0][1] if spans else 0
    for first, last in spans:
        if first > until:
            silences.append((until, first))
        until = max(until, last)
    for channel, product, told in _gaps(schedule, books):
        untold = sum(not any(gap.first <= first and gap.last >= last for gap in told) for first, last in silences)
        if untold:
            yield f"{untold} of {len(silences)} times without any connection without a gap of {channel} of {product}"


def _tickers(stage: Stage, rows: Counter[str], books: Books) -> Iterator[str]:
    """On the Exchange feed every trade made a ticker: stored, or lost at a disconnect or by what nobody can see."""
    markets = {product: stage.simulator.trades(product) for product in PRODUCTS}
    seen: dict[str, dict[int, int]] = {product: {} for product in PRODUCTS}
    for entry in books.entries:
        if entry.kind == "ticker" and entry.trade_id in markets.get(entry.product, ()):
            seen[entry.product].setdefault(entry.trade_id, entry.connection)
    unseen = 0
    for product, lines in seen.items():
        known = sorted(lines)
        for before, after in pairwise(known):
            if lines[before] == lines[after]:
                unseen += sum(f"coinbase-{product}-{trade}" not in rows for trade in range(before + 1, after))
    # Coinbase may leave out tickers, and they have no numbers to know it by: only the simulator knows.
    excused = sum(count for kind, count in stage.fired.items() if KINDS[kind].loses_frames)
    excused += sum(gap.frames for gap in books.gaps) + books.dropped + _unheard(stage.schedule)
    if unseen > excused:
        yield f"{unseen} tickers vanished within a connection, and only {excused} are accounted for"


def _unheard(schedule: Schedule) -> int:
    """About how many trades were made while a connection was half open, which may end without a disconnect."""
    silences = [fault.seconds or 0.0 for fault in schedule.faults if fault.kind == "silence"]
    return round(sum(silences) * schedule.rate * 2)


def lost_frames(schedule: Schedule, books: Books) -> Iterator[str]:
    """Frames of Advanced Trade have numbers: where some are missing, each product has a gap from before to behind.

    It may be longer than that: after a disconnect it lasts until the product is subscribed again, or longer where it is
    refused for a while. A gap over which the clock was set back ends when it begins.
    """
    places = {
        at: place
        for place, at in enumerate(
            at for connection, times in books.times.items() if connection != OWN_CONNECTION for at in times
        )
    }
    for channel, product, gaps in _gaps(schedule, books):
        spans = [(places.get(gap.first, -1), places.get(gap.last, -1), gap.first == gap.last) for gap in gaps]
        silent = sum(
            not any(first <= jump.before and (last > jump.before or is_timeless) for first, last, is_timeless in spans)
            for jump in books.jumps
        )
        if silent:
            yield f"{silent} of {len(books.jumps)} losses of frames without a gap of {channel} of {product}"


def disconnects(schedule: Schedule, books: Books) -> Iterator[str]:
    """Between two connections quotes are lost: there must be a gap from the one to the other, or beyond them.

    Its ends are a frame of the one and a frame of the other; where the clock has been set back in between, only one of
    them can be. A product that is refused for a while has a gap over all the connections meanwhile.
    """
    within = {(jump.first, max(jump.first, jump.last)) for jump in books.jumps}
    for channel, product, told in _gaps(schedule, books):
        kind: Kind = "book" if channel == BOOKS else "ticker"
        connections = [set(books.times[connection]) for connection in books.connections(kind)]
        gaps = [gap for gap in told if (gap.first, gap.last) not in within]
        silent = 0
        for index, (before, after) in enumerate(pairwise(connections), 1):
            earlier, later = set[int]().union(*connections[:index]), set[int]().union(*connections[index:])
            silent += not any(
                gap.first in before or gap.last in after or (gap.first in earlier and gap.last in later) for gap in gaps
            )
        # A damaged journal may have lost the very frames with which a gap begins and ends.
        if silent and not (books.gaps and len(gaps) >= len(connections) - 1):
            yield f"{silent} of {len(connections) - 1} disconnects without a gap of {channel} of {product}"


def _gaps(schedule: Schedule, books: Books) -> Iterator[tuple[str, str, list[MarketGap]]]:
    """The gaps of each channel that nobody can fetch again, by product."""
    quotes = [gap for gap in books.market_gaps if gap.kind == "quotes"]
    for channel in ("ticker", BOOKS) if schedule.books else ("ticker",):
        for product in PRODUCTS:
            yield channel, product, [gap for gap in quotes if gap.channel == channel and product in gap.products]
