"""Reading back what PulseStream holds, by its search: every row once, however many there are.

The search sorts by timestamp only, and trades of one cascade share theirs: with an offset, rows of one timestamp may
trade places between two pages, so that one is lost and another comes twice. Here each page begins at the timestamp at
which the last one ended, and what both of them hold is told apart by row id.

The cost: a request for each 1000 rows, in which the server also counts all rows of the time slice that is being read.
Slices are chosen so that this is about twenty pages. A request takes the server some tens of milliseconds and transfers
the events' payloads, of which nothing is kept: a million events are about a thousand requests and 1 or 2 GB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
from loguru import logger
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from rxbridge.errors import DeliveryError, ServerFailed, quoted
from rxbridge.pulsestream.client import FoundEvent, PulseStreamClient, SearchPage

_PAGES_A_SLICE = 20
_FIRST_SLICE = timedelta(minutes=1)
_SHORTEST_SLICE = timedelta(milliseconds=1)
_RESOLUTION = timedelta(microseconds=1)
_TIE_PASSES = 30
"""Enough even if the order of equal timestamps were drawn anew for each page; mostly the first one is."""


class StoredEvent(msgspec.Struct, frozen=True):
    """An event that PulseStream holds.

    Attributes:
        row_id: Of the row; an event that is stored twice has two.
        event_id: The id that its sender gave.
        timestamp: The event's, naive, in UTC.
    """

    row_id: str
    event_id: str
    timestamp: datetime


def stored_events(
    client: PulseStreamClient,
    *,
    service: str,
    start: datetime,
    end: datetime,
    page: int = 1000,
    attempts: int = 5,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[StoredEvent]:
    """All events of a service with timestamps from `start` to `end`, both inclusive, the newest first.

    Events that are stored in that time while it is being read may or may not be among them. Memory holds a page,
    or all rows of one timestamp if those do not fit into a page.

    Args:
        client: Where to look.
        service: `source.service` of the events, exactly.
        start: Naive, in UTC.
        end: Likewise.
        page: Rows a request, up to 1000.
        attempts: How often a request is tried, with growing pauses.
        sleep: Waits so many seconds.

    Raises:
        DeliveryError: A request failed on every try, or the answers contradict each other.
    """
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, DeliveryError) and error.retryable),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=1, max=30),
        before_sleep=_tell,
        sleep=sleep,
        reraise=True,
    )
    search = partial(retrying, client.search, service=service)
    newest, width = end, _FIRST_SLICE
    while newest >= start:
        oldest = newest - min(width, newest - start)
        rows = 0
        for found in _slice(search, oldest, newest, page):
            rows += 1
            if found.source == service and found.external_id is not None:
                yield StoredEvent(found.id, found.external_id, _moment(found.timestamp).replace(tzinfo=None))
        newest = oldest - _RESOLUTION
        # As wide as it takes for so many rows, but never ten times wider or narrower at once.
        width = max(width * min(max(_PAGES_A_SLICE * page / max(rows, 1), 0.1), 10.0), _SHORTEST_SLICE)


def _slice(search: Callable[..., SearchPage], oldest: datetime, newest: datetime, page: int) -> Iterator[FoundEvent]:
    """All rows of a time slice, each once.

    The bounds are naive, so that the server reads them as it read the events' own timestamps, whatever its time zone;
    further pages begin at a timestamp as the server itself wrote it.
    """
    start, end = oldest.isoformat(), newest.isoformat()
    reached: datetime | None = None
    seen: set[str] = set()
    while True:
        rows = search(start=start, end=end, limit=page).events
        yield from (row for row in rows if row.id not in seen)
        if len(rows) < page:
            return
        last = rows[-1].timestamp
        ids = {row.id for row in rows if row.timestamp == last}
        one_moment = len(ids) == len(rows)
        moment = _moment(last)
        if reached is not None and not (moment < reached or (moment == reached and one_moment)):
            raise ServerFailed(200, f"the search up to {end} brings events from after that")
        if one_moment:
            yield from (row for row in _same_moment(search, last, page) if row.id not in seen | ids)
            reached, seen = moment - _RESOLUTION, set()
            end = reached.isoformat()
        else:
            reached, seen, end = moment, ids, last


def _same_moment(search: Callable[..., SearchPage], moment: str, page: int) -> list[FoundEvent]:
    """More rows of one single timestamp than a page holds: read by offset until as many as there are were seen."""
    found: dict[str, FoundEvent] = {}
    total = 0
    for _ in range(_TIE_PASSES):
        offset = 0
        while True:
            result = search(start=moment, end=moment, limit=page, offset=offset)
            found.update((row.id, row) for row in result.events)
            offset, total = offset + page, result.total_count
            if len(result.events) < page:
                break
        if len(found) >= total:
            return list(found.values())
    raise ServerFailed(200, f"of {total} events of {moment} the search shows only {len(found)}")


def _moment(text: str) -> datetime:
    """A timestamp of the server's, aware."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ServerFailed(200, f"a timestamp that cannot be read: {quoted(text)}") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("[SEARCH] {}; next try in {:.1f} s", error, state.upcoming_sleep)
