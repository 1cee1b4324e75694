import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.errors import ServerFailed, Unreachable
from rxbridge.pulsestream import PulseStreamClient, StoredEvent, stored_events
from rxbridge.pulsestream.client import FoundEvent, SearchPage

NOON = datetime.fromisoformat("2024-05-01T12:00:00")
MICROSECOND = timedelta(microseconds=1)


class Shelf:
    """A server's search: newest first, equal timestamps in another order each time, and every request counted."""

    def __init__(self, *moments: datetime) -> None:
        self.rows: list[FoundEvent] = []
        self.requests: list[dict[str, Any]] = []
        self.faults: list[Exception] = []
        self.before_request: Callable[[], None] = lambda: None
        self.shuffle = random.Random(1).random
        for moment in moments:
            self.put(moment)

    def put(self, moment: datetime, source: str | None = "tests", external_id: str | None = "") -> None:
        number = len(self.rows)
        name = f"event-{number}" if external_id == "" else external_id
        self.rows.append(FoundEvent(f"row-{number}", name, moment.replace(tzinfo=UTC).isoformat(), source))

    def search(self, *, service: str, start: str, end: str, limit: int, offset: int = 0) -> SearchPage:
        self.before_request()
        self.requests.append({"start": start, "end": end, "offset": offset})
        if self.faults:
            raise self.faults.pop(0)
        first, last = utc(start), utc(end)
        found = [row for row in self.rows if first <= utc(row.timestamp) <= last and service in (row.source or "")]
        found.sort(key=lambda row: (utc(row.timestamp), self.shuffle()), reverse=True)
        return SearchPage(found[offset : offset + limit], len(found))


def utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read(shelf: Any, **arguments: Any) -> list[StoredEvent]:
    given: dict[str, Any] = {"start": NOON - timedelta(hours=1), "end": NOON, "page": 10, "sleep": lambda _: None}
    return list(stored_events(cast("PulseStreamClient", shelf), service="tests", **(given | arguments)))


def rows(events: list[StoredEvent]) -> list[str]:
    return sorted(event.row_id for event in events)


def test_what_is_found() -> None:
    shelf = Shelf(NOON - timedelta(seconds=1.5))
    assert read(shelf) == [StoredEvent("row-0", "event-0", NOON - timedelta(seconds=1.5))]


def test_both_ends_belong_to_it() -> None:
    start = NOON - timedelta(hours=1)
    shelf = Shelf(start - MICROSECOND, start, NOON, NOON + MICROSECOND)
    assert [event.row_id for event in read(shelf)] == ["row-2", "row-1"]


@settings(max_examples=100, deadline=None)
@given(
    ticks=st.lists(st.integers(0, 40) | st.integers(0, 10_000_000), max_size=120),
    page=st.integers(2, 12),
    unit=st.sampled_from([MICROSECOND, timedelta(milliseconds=1), timedelta(milliseconds=300)]),
)
def test_every_row_comes_once_however_many_share_a_timestamp(ticks: list[int], page: int, unit: timedelta) -> None:
    shelf = Shelf(*[NOON - tick * unit for tick in ticks])
    found = read(shelf, start=NOON - 10_000_000 * unit, page=page)

    assert rows(found) == sorted(row.id for row in shelf.rows)
    moments = [event.timestamp for event in found]
    assert moments == sorted(moments, reverse=True)


def test_more_of_one_timestamp_than_a_page() -> None:
    shelf = Shelf(*[NOON - timedelta(seconds=5)] * 57, *[NOON - timedelta(seconds=5, microseconds=1)] * 3, NOON)
    assert len(set(rows(read(shelf)))) == len(read(shelf)) == 61


def test_a_server_that_hides_rows_of_one_timestamp_is_not_believed() -> None:
    class Forgetful(Shelf):
        def search(self, **arguments: Any) -> SearchPage:
            page = super().search(**arguments)
            return SearchPage([row for row in page.events if row.id != "row-7"], page.total_count)

    with pytest.raises(ServerFailed, match="of 57 events"):
        read(Forgetful(*[NOON - timedelta(seconds=5)] * 57), page=9)


@pytest.mark.parametrize("apart", [timedelta(seconds=1), timedelta()])
def test_a_server_that_repeats_a_page_is_not_believed(apart: timedelta) -> None:
    class Stuck(Shelf):
        def search(self, *, start: str, end: str, **arguments: Any) -> SearchPage:
            if start != end:
                end = NOON.isoformat()
            return super().search(start=start, end=end, **arguments)

    with pytest.raises(ServerFailed, match="from after that"):
        read(Stuck(*[NOON - number * apart for number in range(30)]), page=9)


def test_a_timestamp_that_cannot_be_read_is_told() -> None:
    class Strange(Shelf):
        def search(self, **arguments: Any) -> SearchPage:
            del arguments
            return SearchPage([FoundEvent("row", "event", "noon\n", "tests")], 1)

    with pytest.raises(ServerFailed, match="noon"):
        read(Strange())


def test_what_is_stored_meanwhile_costs_nothing_older() -> None:
    shelf = Shelf(*[NOON - timedelta(milliseconds=number // 3) for number in range(300)])
    before = {row.id for row in shelf.rows}

    def store_some() -> None:
        number = len(shelf.requests)
        shelf.put(NOON)
        shelf.put(NOON - timedelta(milliseconds=number % 100))
        shelf.put(NOON - timedelta(milliseconds=50, microseconds=number))

    shelf.before_request = store_some
    found = rows(read(shelf))
    assert before <= set(found)
    assert len(found) == len(set(found))


def test_an_event_that_is_stored_twice_comes_twice() -> None:
    shelf = Shelf()
    shelf.put(NOON, external_id="same")
    shelf.put(NOON, external_id="same")
    assert [event.event_id for event in read(shelf)] == ["same", "same"]


def test_other_services_and_rows_without_an_id_are_left_out() -> None:
    """The server takes the service for a part of the name."""
    shelf = Shelf()
    shelf.put(NOON, source="more tests")
    shelf.put(NOON, source=None)
    shelf.put(NOON, external_id=None)
    shelf.put(NOON, external_id="mine")
    assert [event.event_id for event in read(shelf)] == ["mine"]


def test_many_rows_cost_about_a_request_a_page() -> None:
    shelf = Shelf(*[NOON - timedelta(milliseconds=10 * number) for number in range(1000)])
    assert len(read(shelf, page=10)) == 1000
    assert len(shelf.requests) < 120
    assert not any(request["offset"] for request in shelf.requests)


def test_after_a_crowd_at_one_moment_it_goes_on_fast() -> None:
    shelf = Shelf(*[NOON] * 100, NOON - timedelta(hours=1))
    assert len(read(shelf, page=2)) == 101
    assert sum(request["start"] != request["end"] for request in shelf.requests) < 20


def test_years_of_nothing_cost_little() -> None:
    shelf = Shelf(NOON - timedelta(days=3000))
    assert len(read(shelf, start=NOON - timedelta(days=4000))) == 1
    assert len(shelf.requests) < 20


def test_an_interval_without_length_and_one_turned_round() -> None:
    shelf = Shelf(NOON)
    assert len(read(shelf, start=NOON)) == 1
    assert read(shelf, start=NOON + MICROSECOND) == []


def test_the_first_bounds_are_naive_as_the_timestamps_were_sent() -> None:
    """So it does not matter in which time zone the server reads them."""
    shelf = Shelf(*[NOON - timedelta(milliseconds=number) for number in range(15)])
    read(shelf, start=NOON - timedelta(seconds=30))
    assert shelf.requests[0] == {"start": "2024-05-01T11:59:30", "end": "2024-05-01T12:00:00", "offset": 0}
    assert shelf.requests[1]["end"] == "2024-05-01T11:59:59.991000+00:00"


def test_failures_are_retried_a_few_times(log: list[str]) -> None:
    shelf = Shelf(NOON)
    pauses: list[float] = []
    shelf.faults = [Unreachable("http://host", "refused")] * 4
    assert len(read(shelf, sleep=pauses.append)) == 1
    assert len(pauses) == 4
    assert sum("[SEARCH]" in line for line in log) == 4

    shelf.faults = [ServerFailed(500, "no")] * 5
    with pytest.raises(ServerFailed, match="500"):
        read(shelf)


def test_the_client_asks_as_the_server_wants_it(server: Any, client: PulseStreamClient) -> None:
    row = {
        "id": "r",
        "external_id": "e",
        "timestamp": "2024-05-01T11:59:59+00:00",
        "source": "tests",
        "payload": {"a": 1},
    }
    answer = {"events": [row], "total_count": 1, "filtered_count": 1, "has_more": False, "search_id": "s"}
    server.script(server.status(200, answer))
    found = list(stored_events(client, service="tests", start=NOON - timedelta(seconds=1), end=NOON))

    assert found == [StoredEvent("r", "e", NOON - timedelta(seconds=1))]
    assert server.requests[0].path == (
        "/api/v1/ingestion/events/search?service=tests&start_time=2024-05-01T11%3A59%3A59"
        "&end_time=2024-05-01T12%3A00%3A00&limit=1000&offset=0"
    )
