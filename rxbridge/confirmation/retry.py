"""Dead letters once more: each is posted again under the same id, and is taken out when it is proven to be stored.

Unlike the delivery this comes to an end: somebody waits for it, and a letter may well be refused again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from rxbridge.books import CHANNEL, Books
from rxbridge.channel_history import channels_as_received
from rxbridge.confirmation.finite import FinitePosts, Verdict
from rxbridge.confirmation.reading import EventMaker
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import DeadLetter, Journal
from rxbridge.messages import Frame
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.rule_history import rules_as_delivered

_AT_ONCE = 500
_NOT_ALONE = "; a user's pipeline is not run for a single frame"


@dataclass(slots=True)
class RetryResult:
    """What became of the letters that were tried again.

    Attributes:
        delivered: Proven to be stored; they are dead letters no longer.
        without_event: Frames that can be read now, and that make no event; they are dead letters no longer.
        failed: They stay, with the new reason, time and count.
    """

    delivered: int = 0
    without_event: int = 0
    failed: int = 0


class _Body(msgspec.Struct):
    """What a batch needs to know of an event that is encoded already."""

    event_id: str
    title: str
    timestamp: datetime


_body = msgspec.json.Decoder(_Body)


class Retry:
    """Tries dead letters again, one request at a time.

    The frames of the letters must be acknowledged: until then the delivery may still send them itself.

    Args:
        journal: Where the letters are.
        client: Where to send them.
        channels: Whose messages become events, where the journal does not say for which channels its frames came.
        rules: How messages become events, where the journal does not say how they did.
        after_seconds: How long after it was sent an event is looked for.
        sleep: Waits so many seconds.
        report: Is told how many letters are done.
    """

    def __init__(
        self,
        journal: Journal,
        client: PulseStreamClient,
        *,
        channels: Sequence[str],
        rules: EventRules,
        after_seconds: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        report: Callable[[int], None] = lambda _done: None,
    ) -> None:
        self.result: RetryResult = RetryResult()
        self._journal = journal
        self._asked = channels_as_received(journal, channels)
        self._rules = rules_as_delivered(journal, rules)
        self._after_seconds = after_seconds
        self._sleep = sleep
        self._report = report
        self._posts = FinitePosts(client, sleep=sleep)
        self._gone: list[tuple[int, str]] = []
        self._kept: list[DeadLetter] = []

    def run(self, letters: Iterable[DeadLetter]) -> RetryResult:
        """Try them in order.

        Raises:
            DeliveryError: PulseStream cannot be asked, or refuses the key: the letters that were not tried stay as they
                are.
            JournalError: The journal cannot be read or written.
        """
        for some in _portions(letters, _AT_ONCE):
            events: list[EncodedEvent] = []
            # An event that was received again long after may have two letters, which share its fate.
            letters_of: dict[str, list[DeadLetter]] = {}
            for letter in some:
                for event in self._events_of(letter):
                    if event.event_id not in letters_of:
                        events.append(event)
                    letters_of.setdefault(event.event_id, []).append(letter)
            try:
                self._prove(events, letters_of)
            finally:
                self._write()
        return self.result

    def _prove(self, waiting: Sequence[EncodedEvent], letters_of: dict[str, list[DeadLetter]]) -> None:
        while waiting:
            sent: list[EncodedEvent] = []
            for event, verdict in self._posts.post(waiting):
                if verdict.fate == "stored":
                    sent.append(event)
                    continue
                for letter in letters_of[event.event_id]:
                    if verdict.fate == "already_stored":
                        self._gone.append((letter.offset, letter.event_id))
                        self.result.delivered += 1
                    else:
                        self._keep(letter, verdict)
            self._write()
            waiting = sent
            if waiting:
                # PulseStream answers before it commits, and the same events must not come before that.
                self._sleep(self._after_seconds)

    def _events_of(self, letter: DeadLetter) -> list[EncodedEvent]:
        """The event that is to be sent; none, if the letter was dealt with otherwise."""
        if letter.stage == "deliver":
            try:
                body = _body.decode(letter.content)
            except msgspec.MsgspecError as error:
                self._keep(letter, Verdict("failed", f"its content is no event: {error}"))
                return []
            return [EncodedEvent(letter.event_id, body.title, None, letter.offset, body.timestamp, letter.content)]
        if letter.stage == "pipeline":
            # What it would make of this frame alone is not what it made of this one and all before.
            self._keep(letter, Verdict("failed", letter.reason.removesuffix(_NOT_ALONE) + _NOT_ALONE))
            return []
        failures: list[DeadLetter] = []
        make = EventMaker(
            channels=self._asked,
            rules=self._rules,
            dead_letter=failures.append,
            kept_books=self._books_for(letter.offset),
        )
        events = make(self._frame_of(letter))
        if failures:
            self._keep(letter, Verdict("refused", failures[0].reason))
        elif not events:
            self._gone.append((letter.offset, letter.event_id))
            self.result.without_event += 1
        return events

    def _books_for(self, offset: int) -> Books | None:
        """What makes the parts of a whole book, which are of its frame alone; an image is of all frames before."""
        if CHANNEL in self._asked.at(offset) and self._rules.at(offset).book == "full":
            return Books(self._rules)
        return None

    def _frame_of(self, letter: DeadLetter) -> Frame:
        """The frame itself, as the ids of some events depend on when and where it came; else what is left of it."""
        frames = self._journal.read(letter.offset - 1, 1)
        if frames and frames[0].offset == letter.offset and frames[0].data == letter.content:
            return frames[0]
        return Frame(
            letter.content, letter.first_attempt, connection=letter.first_attempt, index=0, offset=letter.offset
        )

    def _keep(self, letter: DeadLetter, verdict: Verdict) -> None:
        now = time.time_ns()
        self._kept.append(msgspec.structs.replace(letter, reason=verdict.reason, last_attempt=now, attempts=1))
        self.result.failed += 1

    def _write(self) -> None:
        self._journal.remove_dead_letters(self._gone)
        self._journal.add_dead_letters(self._kept)
        self._gone.clear()
        self._kept.clear()
        self._report(self.result.delivered + self.result.without_event + self.result.failed)


def _portions(letters: Iterable[DeadLetter], size: int) -> Iterator[list[DeadLetter]]:
    portion: list[DeadLetter] = []
    for letter in letters:
        portion.append(letter)
        if len(portion) == size:
            yield portion
            portion = []
    if portion:
        yield portion
