"""Requests that go wrong on purpose, as the project's own client sees them."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from rxbridge.errors import DeliveryError, ReadTimedOut, ServerFailed, Throttled, Unauthorized, Unreachable
from rxbridge.events import EncodedEvent
from rxbridge.faults import Fault
from rxbridge.pulsestream import PulseStreamSink
from rxbridge.pulsestream_server.spoiling import SHAPES_OF_A_BATCH
from rxbridge.telemetry.statistics import DeliveryStatistics

KEY = "the-key-of-this-test"
ALL = [f"event-{number}" for number in range(1, 6)]

NewBatch = Callable[..., list[EncodedEvent]]


def fates(answer: Any) -> list[str]:
    return [outcome.fate for outcome in answer.outcomes]


REFUSALS = [
    (Fault("fail", times=1), ServerFailed, "unexpected error"),
    (Fault("unauthorized", times=1), Unauthorized, "Invalid API key"),
    (Fault("too_many", times=1), Throttled, "Too many requests"),
    (Fault("partial", times=1), ServerFailed, "connection was closed in the middle"),
    (Fault("html", status=200, times=1), ServerFailed, "out of shape"),
    (Fault("html", status=502, times=1), ServerFailed, "502"),
    (Fault("out_of_shape", times=1), ServerFailed, "out of shape"),
    (Fault("redirect", times=1), ServerFailed, "a redirect to 'elsewhere.invalid/api/v1/ingestion/events/batch'"),
    (Fault("reset", times=1), Unreachable, "reset"),
]


@pytest.mark.parametrize(("fault", "error", "words"), REFUSALS, ids=lambda value: getattr(value, "kind", None))
def test_a_batch_that_is_hit_is_not_stored_and_the_next_one_is(
    faulty: Any, new_batch: NewBatch, fault: Fault, error: type[DeliveryError], words: str
) -> None:
    pulsestream = faulty(fault)
    with pytest.raises(error, match=words):
        pulsestream.client.post_batch(new_batch())
    nothing = pulsestream.stored

    assert fates(pulsestream.client.post_batch(new_batch())) == ["stored"] * 5
    assert (nothing, pulsestream.stored) == ([], ALL)
    assert pulsestream.server.faults_fired == {fault.kind: 1}


class FakeTime(threading.Event):
    """An event that nobody waits for: when somebody would, time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.time()

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()

    def seconds(self) -> float:
        return self.now

    def nanoseconds(self) -> int:
        return int(self.now * 1e9)


@pytest.mark.parametrize(
    "fault",
    [
        *(
            Fault(kind, times=3)
            for kind in ("fail", "unauthorized", "too_many", "partial", "html", "redirect", "reset")
        ),
        Fault("out_of_shape", times=len(SHAPES_OF_A_BATCH) + 1),
        Fault("out_of_shape", stores=True, times=3),
        Fault("reset", after="response", times=3),
        Fault("slow", seconds_per_event=0.001, times=3),
        Fault("fail", probability=0.6),
    ],
    ids=repr,
)
def test_the_sink_delivers_each_event_once_nevertheless(faulty: Any, new_batch: NewBatch, fault: Fault) -> None:
    fake_time = FakeTime()
    pulsestream = faulty(fault, client_clock=fake_time.seconds)
    settled: list[EncodedEvent] = []
    refused: list[Any] = []
    sink = PulseStreamSink(
        pulsestream.client,
        settled=settled.extend,
        refused=lambda *refusal: refused.append(refusal),
        stop=fake_time,
        statistics=DeliveryStatistics(),
        clock=fake_time.nanoseconds,
        monotonic=fake_time.seconds,
    )
    batch = new_batch(20)
    sink.on_next(batch[:10])
    sink.on_next(batch[10:])

    assert (settled, refused) == (batch, [])
    assert pulsestream.stored == sorted(event.event_id for event in batch)
    assert pulsestream.server.faults_fired[fault.kind] >= 1
    if fault.times is not None:
        assert pulsestream.server.faults_fired[fault.kind] <= fault.times


def test_lost_is_a_success_that_is_not_stored(faulty: Any, new_batch: NewBatch) -> None:
    pulsestream = faulty(Fault("lose", times=2))
    first = pulsestream.client.post_batch(new_batch())
    # Posted again it would be called a repeat if it were there.
    again = pulsestream.client.post_batch(new_batch())
    nothing = pulsestream.stored
    third = pulsestream.client.post_batch(new_batch())
    proof = pulsestream.client.post_batch(new_batch())

    assert fates(first) == fates(again) == fates(third) == ["stored"] * 5
    assert (nothing, fates(proof), pulsestream.stored) == ([], ["already_stored"] * 5, ALL)


def test_what_was_stored_before_is_not_lost_and_said_so(faulty: Any, new_batch: NewBatch, client: Any) -> None:
    pulsestream = faulty(Fault("lose", at=0.0, probability=1e-9), Fault("lose", times=1))
    tenant = client(pulsestream.server.url, KEY)
    pulsestream.client.post_batch(new_batch(3))
    pulsestream.client.post_batch(new_batch(3))
    answer = pulsestream.client.post_batch(new_batch(5))

    assert fates(answer) == ["already_stored"] * 3 + ["stored"] * 2
    assert tenant.search()["total_count"] == 5


def test_a_late_commit_is_one(faulty: Any, new_batch: NewBatch, wait_for: Callable[..., None]) -> None:
    pulsestream = faulty(Fault("lose", commit_after_seconds=0.2, times=1))

    assert fates(pulsestream.client.post_batch(new_batch())) == ["stored"] * 5
    wait_for(lambda: pulsestream.stored == ALL)


def test_an_end_does_not_wait_for_a_late_commit_but_makes_it(faulty: Any, new_batch: NewBatch, tmp_path: Path) -> None:
    database = tmp_path / "events.sqlite"
    pulsestream = faulty(Fault("lose", commit_after_seconds=3600.0), database=database)
    pulsestream.client.post_batch(new_batch())
    before = pulsestream.stored
    pulsestream.server.stop()

    assert (before, faulty(database=database).stored) == ([], ALL)


def test_a_part_fails_with_the_database(faulty: Any, new_event: Any, client: Any) -> None:
    pulsestream = faulty(Fault("partial"))
    tenant = client(pulsestream.server.url, KEY)
    answer = tenant.post_batch([new_event() for _ in range(10)])
    single = tenant.post_event(new_event())

    assert [result["success"] for result in answer["results"]] == [True] * 2 + [False] * 8
    assert (answer["successful_events"], answer["failed_events"], answer["processing_status"]) == (2, 8, "partial")
    refusal = answer["results"][-1]
    assert refusal["message"] == "Event ingestion failed"
    assert "asyncpg" in refusal["errors"][0]
    assert (single.status_code, single.json()["message"]["message"]) == (400, "Event ingestion failed")
    assert tenant.search()["total_count"] == 0


def test_a_part_is_refused_by_the_rate_limit_and_the_other_is_stored(faulty: Any, new_batch: NewBatch) -> None:
    pulsestream = faulty(Fault("partial", cause="rate_limit", times=2))
    answers = [fates(pulsestream.client.post_batch(new_batch(10))) for _ in range(3)]

    # What is there already is no matter of the rate limit.
    assert answers[0] == ["stored"] * 2 + ["throttled"] * 8
    assert answers[1] == ["already_stored"] * 2 + ["stored"] * 2 + ["throttled"] * 6
    assert answers[2] == ["already_stored"] * 4 + ["stored"] * 6
    assert len(pulsestream.stored) == 10


def test_no_shape_is_taken_for_an_answer(faulty: Any, new_batch: NewBatch) -> None:
    turns = len(SHAPES_OF_A_BATCH) + 1
    pulsestream = faulty(Fault("out_of_shape", times=turns))
    reasons: set[str] = set()
    for _ in range(turns):
        with pytest.raises(ServerFailed) as caught:
            pulsestream.client.post_batch(new_batch())
        reasons.add(str(caught.value))

    assert len(reasons) > turns / 2, "they are not different"
    assert pulsestream.stored == []
    assert fates(pulsestream.client.post_batch(new_batch())) == ["stored"] * 5


def test_out_of_shape_may_be_stored(faulty: Any, new_batch: NewBatch) -> None:
    pulsestream = faulty(Fault("out_of_shape", stores=True, times=1))
    with pytest.raises(ServerFailed):
        pulsestream.client.post_batch(new_batch())

    assert pulsestream.stored == ALL


def test_pages_come_by_turns(faulty: Any, new_event: Any, client: Any) -> None:
    tenant = client(faulty(Fault("html")).server.url, KEY)
    answers = [tenant.post_event(new_event()) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 502, 200, 502]
    assert all(answer.headers["Content-Type"].startswith("text/html") for answer in answers)
    assert "502 Bad Gateway" in answers[1].text


@pytest.mark.parametrize(("retry_after", "least", "most"), [(7, 6, 9), ("date", 1, 6), (None, 0, 61)])
def test_too_many_says_when_to_come_again(
    faulty: Any, new_batch: NewBatch, retry_after: int | str | None, least: float, most: float
) -> None:
    pulsestream = faulty(Fault("too_many", retry_after=retry_after))
    before = time.time()
    with pytest.raises(Throttled) as caught:
        pulsestream.client.post_batch(new_batch())

    assert before + least <= caught.value.resume_at <= time.time() + most


def test_too_many_has_both_forms_of_the_header(faulty: Any, new_event: Any, client: Any) -> None:
    faults = [Fault("too_many", retry_after=value, times=1) for value in (3, "date", None)]
    tenant = client(faulty(*faults).server.url, KEY)
    headers = [tenant.post_event(new_event()).headers.get("Retry-After") for _ in range(3)]

    assert headers[0] == "3"
    assert headers[1] is not None
    assert headers[1].endswith(" GMT")
    assert headers[2] is None


def test_a_hanging_request_that_stores_runs_on_when_its_client_has_gone(
    faulty: Any, new_batch: NewBatch, new_event: Any, client: Any, tmp_path: Path
) -> None:
    database = tmp_path / "events.sqlite"
    hang = Fault("hang", delay_seconds=3600.0, stores=True, times=1)
    pulsestream = faulty(hang, read_timeout_seconds=1.0, database=database)
    with pytest.raises(ReadTimedOut):
        pulsestream.client.post_batch(new_batch())
    # The same event while the first request runs: neither sees the other, and both store it.
    answer = client(pulsestream.server.url, KEY).post_batch([new_event(event_id="event-1")])
    pulsestream.server.stop()

    assert answer["results"][0]["message"] == "Event ingested successfully"
    (*_, first) = client(faulty(database=database).server.url, KEY).post_batch([new_event(event_id="event-1")])[
        "results"
    ]
    assert first["errors"] == ["Multiple rows were found when one or none was required"]
    assert faulty(database=database).stored == ALL


def test_a_hanging_request_may_come_to_nothing(faulty: Any, new_batch: NewBatch, new_event: Any, client: Any) -> None:
    pulsestream = faulty(Fault("hang", delay_seconds=0.01))
    with pytest.raises(ServerFailed, match="unexpected error"):
        pulsestream.client.post_batch(new_batch())

    assert client(pulsestream.server.url, KEY).post_event(new_event()).status_code == 500
    assert pulsestream.stored == []


def test_an_end_answers_who_hangs(faulty: Any, new_batch: NewBatch, tmp_path: Path, wait_for: Any) -> None:
    database = tmp_path / "events.sqlite"
    pulsestream = faulty(Fault("hang", delay_seconds=3600.0, stores=True), database=database)
    answers: list[Any] = []
    poster = threading.Thread(target=lambda: answers.append(pulsestream.client.post_batch(new_batch())))
    poster.start()
    wait_for(lambda: pulsestream.server.faults_fired["hang"] == 1)
    pulsestream.server.stop()
    poster.join(30)

    assert fates(answers[0]) == ["stored"] * 5
    assert faulty(database=database).stored == ALL


def test_slow_takes_its_time_for_each_event(faulty: Any, new_batch: NewBatch) -> None:
    pulsestream = faulty(Fault("slow", seconds_per_event=0.05))
    began = time.monotonic()
    assert fates(pulsestream.client.post_batch(new_batch(10))) == ["stored"] * 10

    # A floor, not a measure: sleeping less than asked for is what cannot be.
    assert time.monotonic() - began >= 0.5


def test_the_key_never_goes_where_a_redirect_leads(faulty: Any, new_batch: NewBatch) -> None:
    elsewhere = faulty()
    location = elsewhere.server.url.replace("127.0.0.1", "localhost") + "/api/v1/ingestion/events/batch"
    pulsestream = faulty(Fault("redirect", location=location))
    with pytest.raises(ServerFailed, match="redirects are not followed"):
        pulsestream.client.post_batch(new_batch())

    # The other one has the same key: had it been asked, it would have stored them.
    assert (elsewhere.stored, pulsestream.stored) == ([], [])
    followed = requests.post(
        pulsestream.client.address.batch,
        data=b'{"events":[' + new_batch(1)[0].body + b"]}",
        headers={"X-API-Key": KEY},
        timeout=30,
    )
    assert followed.history[0].status_code == 307
    assert elsewhere.stored == ["event-1"], "the redirect leads nowhere, and the test shows nothing"


@pytest.mark.parametrize("kind", ["fail", "unauthorized", "too_many", "html", "out_of_shape", "redirect"])
def test_searches_fail_only_if_it_is_about_all_routes(faulty: Any, kind: str) -> None:
    narrow, broad = faulty(Fault(kind)), faulty(Fault(kind, routes="all"))

    narrow.client.check()
    assert narrow.stored == []
    with pytest.raises(DeliveryError):
        broad.client.check()
    with pytest.raises(DeliveryError):
        _ = broad.stored
    assert (narrow.server.faults_fired[kind], broad.server.faults_fired[kind]) == (0, 2)


def test_a_hang_of_all_routes_holds_a_search_back(faulty: Any) -> None:
    pulsestream = faulty(Fault("hang", delay_seconds=0.01, routes="all"))

    assert pulsestream.stored == []
    assert pulsestream.server.faults_fired == {"hang": 1}


def test_a_failure_closes_the_connection_and_does_not_say_so(faulty: Any, new_event: Any) -> None:
    url = faulty(Fault("fail")).client.address.batch
    with requests.Session() as session:
        answer = session.post(url, json={"events": [new_event()]}, headers={"X-API-Key": KEY}, stream=True, timeout=30)
        sock: Any = getattr(answer.raw.connection, "sock", None)
        content = answer.json()
        rest = sock.recv(1)

    assert (answer.status_code, content["error"]) == (500, "INTERNAL_SERVER_ERROR")
    assert ("connection" in answer.headers, rest) == (False, b"")


def test_the_first_of_the_schedule_that_strikes_is_the_one(faulty: Any, new_batch: NewBatch) -> None:
    pulsestream = faulty(Fault("unauthorized", times=1), Fault("fail", times=1), Fault("drop"))
    for error in (Unauthorized, ServerFailed):
        with pytest.raises(error):
            pulsestream.client.post_batch(new_batch())
    pulsestream.client.post_batch(new_batch())

    assert pulsestream.server.faults_fired == {"unauthorized": 1, "fail": 1}


def test_the_same_seed_rolls_the_same_dice(faulty: Any, new_event: Any, client: Any) -> None:
    def statuses(seed: int) -> list[int]:
        tenant = client(faulty(Fault("unauthorized", probability=0.5), seed=seed).server.url, KEY)
        return [tenant.post_event(new_event()).status_code for _ in range(40)]

    assert statuses(1) == statuses(1) != statuses(2)


@pytest.mark.parametrize("kind", ["partial", "out_of_shape", "lose", "slow"])
@pytest.mark.parametrize("body", [b"", b"[1]", b'{"events": 7}', b'{"events": []}', b"{", b'{"events": ["x"]}'])
def test_what_is_refused_anyway_is_refused_as_ever(faulty: Any, kind: str, body: bytes) -> None:
    def told(url: str) -> tuple[int, Any]:
        answer = requests.post(url, data=body, headers={"X-API-Key": KEY}, timeout=30)
        return answer.status_code, json.loads(answer.content)

    batch = "/api/v1/ingestion/events/batch"
    assert told(faulty(Fault(kind)).server.url + batch) == told(faulty().server.url + batch)
