"""The confirmation posts users' events once more: the very ones that were delivered, wherever it is begun anew."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.confirmation import CONSUMER, Confirmation, Posted, Prover
from rxbridge.confirmation.note import STATE_CONSUMER
from rxbridge.confirmation.trail import Trail
from rxbridge.custom_pipelines import read_history
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.telemetry.statistics import ConfirmationStatistics
from tests.rxbridge.custom_pipelines.support import Half, append, trade
from tests.rxbridge.custom_pipelines.test_delivery import MARKETS, candles


class Proving(Prover):
    """Finds everything stored, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.posted: list[EncodedEvent] = []

    def post(self, events: Sequence[EncodedEvent]) -> Posted:
        self.posted += events
        return Posted(list(events), [], [], [])


def begin(journal: MemoryJournal, prover: Proving, half: Half) -> Trail:
    """As after a crash."""
    return Trail(
        journal,
        prover,
        mode="all",
        channels=("matches",),
        rules=EventRules("test"),
        after_seconds=0.0,
        first_seconds=0.0,
        statistics=ConfirmationStatistics(),
        clock=lambda: 0.0,
        pipelines=half.pipelines,
    )


def confirm(journal: MemoryJournal, prover: Proving, half: Half, steps: int) -> None:
    """Begin anew, as after a crash, and do so many steps."""
    trail = begin(journal, prover, half)
    for _ in range(steps):
        trail.step()


def said(events: Sequence[EncodedEvent]) -> dict[str, Any]:
    return {event.event_id: json.loads(event.body)["payload"] for event in events}


@settings(deadline=None, max_examples=40)
@given(MARKETS, st.lists(st.tuples(st.integers(1, 15), st.integers(0, 4)), min_size=1, max_size=4))
def test_it_posts_what_was_delivered_and_nothing_else(contents: list[bytes], rounds: list[tuple[int, int]]) -> None:
    prover, delivered = Proving(), list[EncodedEvent]()
    with (
        MemoryJournal() as journal,
        patch("rxbridge.custom_pipelines.holdings.WARM_UP_FRAMES", 0),
        patch("rxbridge.confirmation.trail._STRETCH_FRAMES", 3),
    ):
        journal.acknowledge(CONSUMER, 0)
        rest = list(contents)
        confirm(journal, prover, Half(journal, candles), 0)
        for frames, steps in [*rounds, (len(contents), 2 * len(contents))]:
            append(journal, rest[:frames])
            del rest[:frames]
            half = Half(journal, candles)
            assert half.run()
            delivered += half.events
            confirm(journal, prover, half, steps)

        assert journal.cursor(CONSUMER) == len(contents)
        assert journal.cursor(STATE_CONSUMER) <= len(contents)
        assert said(prover.posted) == said(delivered)


class Shrinking(MemoryJournal):
    """Reads a few frames at a time; the next time, something happens afterwards."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.meanwhile: list[Callable[[], None]] = []

    def read(self, after: int, limit: int = 1000) -> Sequence[Frame]:
        frames = super().read(after, min(limit, 4))
        if len(frames) == 4 and self.meanwhile:
            self.meanwhile.pop()()
        return frames


@pytest.mark.parametrize("is_in_mid_stretch", [False, True])
def test_what_a_full_journal_lets_go_is_passed_over_and_so_is_what_began_in_it(*, is_in_mid_stretch: bool) -> None:
    contents = [trade(number, number) for number in range(1, 201)]
    prover, delivered = Proving(), list[EncodedEvent]()
    with (
        Shrinking(max_bytes=8_000, keep_bytes=0, essential=DELIVERY) as journal,
        patch("rxbridge.custom_pipelines.holdings.WARM_UP_FRAMES", 0),
        patch("rxbridge.progress.STRIDE_FRAMES", 1),
    ):
        journal.acknowledge(CONSUMER, 0)

        def deliver(first: int, last: int) -> None:
            for portion in range(first, last, 8):
                append(journal, contents[portion - 1 : min(portion + 7, last)])
                half = Half(journal, candles)
                assert half.run()
                delivered.extend(half.events)

        deliver(1, 10)
        trail = begin(journal, prover, Half(journal, candles))
        trail.step()
        assert journal.cursor(CONSUMER) == 10
        assert said(prover.posted) == said(delivered)
        deliver(11, 20)
        if is_in_mid_stretch:
            journal.meanwhile.append(lambda: deliver(21, 150))
            trail.step()
            assert not journal.meanwhile
            assert journal.cursor(CONSUMER) == 14
        else:
            deliver(21, 150)
        assert journal.let_go() > 0
        for first in range(151, 200, 10):
            trail.step()
            deliver(first, first + 9)
        while journal.cursor(CONSUMER) < 200:
            assert trail.step() is None

        posted, expected = said(prover.posted), said(delivered)
        assert posted == {identity: expected.get(identity) for identity in posted}
        first_kept = [event.event_id for event in delivered if event.offset > 150]
        assert len(first_kept) > 5
        assert set(first_kept) <= posted.keys()


def test_which_pipelines_run_is_noted_before_anything_is_looked_for() -> None:
    half = Half(MemoryJournal(), candles)
    with MemoryJournal() as journal, PulseStreamClient("http://127.0.0.1:9", "a-key-of-a-tenant") as client:
        confirmation = Confirmation(
            journal,
            client,
            mode="all",
            channels=(),
            rules=EventRules("test"),
            statistics=ConfirmationStatistics(),
            pipelines=half.pipelines,
        )
        confirmation.start()
        confirmation.stop(1)

        assert read_history(journal).stretches[-1].names == half.pipelines.names
