"""Dead letters that are tried again: delivered and proven, refused once more, or not tried at all."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from rxbridge.confirmation import EventMaker, Retry, RetryResult
from rxbridge.confirmation.finite import FinitePosts
from rxbridge.errors import DeliveryError, ReadTimedOut, ServerFailed, Throttled, Unauthorized, Unreachable
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import DeadLetter, MemoryJournal
from rxbridge.pulsestream import BatchAnswer, EventOutcome, PulseStreamClient
from tests.rxbridge.confirmation.support import CHANNELS, HEARTBEAT, TORN, append, event_id, match


class Scripted(PulseStreamClient):
    """A PulseStream that does what its script says, request by request, and then is well.

    `poison` are ids for which it refuses all their request; `refuses` are refused alone.
    """

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "key")
        self.script: list[DeliveryError | Callable[[Sequence[EncodedEvent]], BatchAnswer]] = []
        self.poison: set[str] = set()
        self.refuses: set[str] = set()
        self.posted: list[list[str]] = []
        self.stored: set[str] = set()
        self.trouble: DeliveryError | None = None
        self.slept: list[float] = []

    def post_batch(self, events: Sequence[EncodedEvent]) -> BatchAnswer:
        self.posted.append([event.event_id for event in events])
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, DeliveryError):
                raise step
            return step(events)
        if self.poison.intersection(self.posted[-1]):
            raise ServerFailed(500, "Batch event ingestion failed")
        return BatchAnswer(tuple(map(self.outcome, events)), 1.0, 1.0)

    def outcome(self, event: EncodedEvent) -> EventOutcome:
        if event.event_id in self.refuses:
            return EventOutcome("refused", ("title: too odd",))
        if event.event_id in self.stored:
            return EventOutcome("already_stored")
        self.stored.add(event.event_id)
        return EventOutcome("stored")

    def check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


def refused_events(journal: MemoryJournal, count: int) -> list[DeadLetter]:
    """Events of the first frames, as the delivery leaves them when PulseStream refuses them."""
    append(journal, map(match, range(1, count + 1)))
    make = EventMaker(channels=CHANNELS, rules=EventRules("test"))
    letters = [
        DeadLetter(event.offset, event.event_id, "deliver", "bad", event.body, 10, 20, 3)
        for frame in journal.read(0, count)
        for event in make(frame)
    ]
    journal.add_dead_letters(letters)
    return letters


def retry(journal: MemoryJournal, server: Scripted, **options: Any) -> RetryResult:
    defaults: dict[str, Any] = {"channels": CHANNELS, "rules": EventRules("test")}
    worker = Retry(journal, server, after_seconds=7.0, sleep=server.slept.append, **defaults | options)
    return worker.run(journal.dead_letters())


def test_a_letter_is_taken_out_when_it_is_proven_to_be_stored(server: Scripted) -> None:
    journal = MemoryJournal()
    refused_events(journal, 3)
    done: list[int] = []

    assert retry(journal, server, report=done.append) == RetryResult(delivered=3)

    ids = [event_id(trade) for trade in (1, 2, 3)]
    assert server.posted == [ids, ids]
    assert server.slept == [7.0]
    assert list(journal.dead_letters()) == []
    assert done[-1] == 3


def test_what_is_lost_in_between_is_sent_until_it_is_found(server: Scripted) -> None:
    journal = MemoryJournal()
    refused_events(journal, 1)
    server.script = [lambda _events: BatchAnswer((EventOutcome("stored"),), 1.0, 1.0)] * 2

    assert retry(journal, server) == RetryResult(delivered=1)
    assert len(server.posted) == 4


def test_what_is_refused_again_stays_with_the_new_story(server: Scripted) -> None:
    journal = MemoryJournal()
    first, second = refused_events(journal, 2)
    server.refuses = {second.event_id}

    assert retry(journal, server) == RetryResult(delivered=1, failed=1)

    (letter,) = journal.dead_letters()
    assert (letter.event_id, letter.reason, letter.first_attempt, letter.attempts) == (
        *(second.event_id, "title: too odd"),
        *(first.first_attempt, 4),
    )
    assert letter.last_attempt > second.last_attempt
    assert letter.content == second.content


def test_one_that_spoils_its_request_is_found_and_the_others_are_delivered(server: Scripted) -> None:
    journal = MemoryJournal()
    refused_events(journal, 20)
    server.poison = {event_id(7), event_id(8)}

    assert retry(journal, server) == RetryResult(delivered=18, failed=2)
    assert [letter.event_id for letter in journal.dead_letters()] == [event_id(7), event_id(8)]
    assert all("500" in letter.reason for letter in journal.dead_letters())


@pytest.mark.parametrize(
    ("trouble", "tries"),
    [
        (Unreachable("url", "refused"), 3),
        (ReadTimedOut("url", 1.0), 1),
        (Unauthorized("no"), 1),
        (ServerFailed(503, "restarting"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_server_in_trouble_ends_it_and_letters_stay_as_they_are(
    server: Scripted, trouble: DeliveryError, tries: int
) -> None:
    journal = MemoryJournal()
    letters = refused_events(journal, 2)
    server.script = [trouble] * 5

    with pytest.raises(type(trouble)):
        retry(journal, server)
    assert len(server.posted) == tries
    assert list(journal.dead_letters()) == letters


def test_a_server_that_refuses_everything_with_500_is_asked_whether_it_is_well(server: Scripted) -> None:
    journal = MemoryJournal()
    letters = refused_events(journal, 1)
    server.poison = {event_id(1)}
    server.trouble = Unauthorized("the database is down")

    with pytest.raises(Unauthorized):
        retry(journal, server)
    assert list(journal.dead_letters()) == letters


def test_what_was_found_out_before_the_trouble_is_written(server: Scripted) -> None:
    journal = MemoryJournal()
    refused_events(journal, 101)
    server.refuses = {event_id(1)}
    good = lambda events: BatchAnswer(tuple(map(server.outcome, events)), 1.0, 1.0)  # noqa: E731
    server.script = [good, Unauthorized("no")]

    with pytest.raises(Unauthorized):
        retry(journal, server)
    assert next(journal.dead_letters()).reason == "title: too odd"


def test_the_rate_limit_is_waited_for(server: Scripted) -> None:
    journal = MemoryJournal()
    refused_events(journal, 3)
    half = (EventOutcome("stored"), EventOutcome("throttled"), EventOutcome("throttled"))
    server.script = [Throttled(160.0, "limit"), lambda _events: BatchAnswer(half, 1.0, 220.0)]
    waited: list[float] = []
    now = iter([100.0, 200.0])
    posts = FinitePosts(server, sleep=waited.append, clock=lambda: next(now))
    make = EventMaker(channels=CHANNELS, rules=EventRules("test"))
    events = [event for frame in journal.read(0) for event in make(frame)]

    fates = [(event.event_id, verdict.fate) for event, verdict in posts.post(events)]

    assert fates == [(event_id(trade), "stored") for trade in (1, 2, 3)]
    assert waited == [60.0, 20.0]
    assert server.posted[2] == [event_id(2), event_id(3)]


def test_a_frame_goes_through_the_pipeline_again(server: Scripted) -> None:
    journal = MemoryJournal()
    # As if an older rxbridge could not read the first three.
    append(journal, [match(1), HEARTBEAT, match(0), TORN])
    contents = [frame.data for frame in journal.read(0)]
    journal.add_dead_letters(
        [
            DeadLetter(1, "", "parse", "unknown", contents[0], 1, 1),
            DeadLetter(2, "", "parse", "unknown", contents[1], 1, 1),
            DeadLetter(3, "", "map", "unknown", contents[2], 1, 1),
            DeadLetter(4, "", "parse", "torn", contents[3], 1, 1),
        ]
    )
    make = EventMaker(channels=CHANNELS, rules=EventRules("test"))
    (without_id,) = make(journal.read(2, 1)[0])

    assert retry(journal, server) == RetryResult(delivered=2, without_event=1, failed=1)

    # The id of an event without a trade id depends on when its frame came, which the journal knows still.
    assert server.stored == {event_id(1), without_id.event_id}
    (letter,) = journal.dead_letters()
    assert (letter.offset, letter.stage, letter.attempts) == (4, "parse", 2)
    assert letter.reason.startswith("malformed frame")


def test_a_whole_book_is_tried_with_its_parts(server: Scripted) -> None:
    def update(**fields: object) -> bytes:
        return json.dumps({"type": "l2update", "changes": [["buy", "9", "1"]], **fields}).encode()

    journal = MemoryJournal()
    append(journal, [update(), update(product_id="BTC-USD")])
    contents = [frame.data for frame in journal.read(0)]
    journal.add_dead_letters(
        [DeadLetter(offset, "", "parse", "unknown", contents[offset - 1], 1, 1) for offset in (1, 2)]
    )

    result = retry(journal, server, channels=("level2",), rules=EventRules("test", book="full"))

    assert result == RetryResult(delivered=1, failed=1)
    (letter,) = journal.dead_letters()
    assert (letter.offset, letter.stage) == (1, "parse")
    assert "it does not say of which product it is" in letter.reason
    (stored,) = server.stored
    assert "book-part" in stored


def test_a_frame_that_the_journal_keeps_no_longer_is_in_its_letter(server: Scripted) -> None:
    journal = MemoryJournal()
    journal.add_dead_letters([DeadLetter(900, "", "parse", "unknown", match(5), 1, 1)])

    assert retry(journal, server) == RetryResult(delivered=1)
    assert server.stored == {event_id(5)}


def test_content_that_is_no_event_stays(server: Scripted) -> None:
    journal = MemoryJournal()
    journal.add_dead_letters([DeadLetter(1, "an-id", "deliver", "bad", b"\x00", 1, 1)])

    assert retry(journal, server) == RetryResult(failed=1)
    (letter,) = journal.dead_letters()
    assert letter.reason.startswith("its content is no event")
    assert server.posted == []


def test_two_letters_of_one_event_share_its_fate(server: Scripted) -> None:
    journal = MemoryJournal()
    (letter,) = refused_events(journal, 1)
    journal.add_dead_letters([DeadLetter(50, letter.event_id, "deliver", "bad", letter.content, 1, 1)])

    assert retry(journal, server) == RetryResult(delivered=2)
    assert list(journal.dead_letters()) == []
    assert server.posted == [[event_id(1)]] * 2


def test_more_letters_than_one_portion(server: Scripted) -> None:
    journal = MemoryJournal()
    refused_events(journal, 1203)

    assert retry(journal, server) == RetryResult(delivered=1203)
    assert max(map(len, server.posted)) == 100
