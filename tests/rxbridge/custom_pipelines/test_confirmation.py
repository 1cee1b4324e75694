"""The confirmation posts users' events once more: the very ones that were delivered, wherever it is begun anew."""

import json
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.confirmation import CONSUMER, Posted, Prover
from rxbridge.confirmation.note import STATE_CONSUMER
from rxbridge.confirmation.trail import Trail
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import MemoryJournal
from rxbridge.telemetry.statistics import ConfirmationStatistics
from tests.rxbridge.custom_pipelines.support import Half, append
from tests.rxbridge.custom_pipelines.test_delivery import MARKETS, candles


class Proving(Prover):
    """Finds everything stored, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.posted: list[EncodedEvent] = []

    def post(self, events: Sequence[EncodedEvent]) -> Posted:
        self.posted += events
        return Posted(list(events), [], [], [])


def confirm(journal: MemoryJournal, prover: Proving, half: Half, steps: int) -> None:
    """Begin anew, as after a crash, and do so many steps."""
    trail = Trail(
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
