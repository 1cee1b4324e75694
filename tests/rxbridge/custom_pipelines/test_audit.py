"""The audit of users' pipelines in a journal that keeps only its newest frames."""

import json
from typing import Any

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import SchedulerBase

from rxbridge.audit import run_as_delivered
from rxbridge.confirmation import EventMaker, read_frames
from rxbridge.custom_pipelines import Pipelines
from rxbridge.errors import ConfigError
from rxbridge.events import CustomEvent, EncodedEvent, EventRules, event
from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame
from tests.rxbridge.custom_pipelines import candle_pipeline
from tests.rxbridge.custom_pipelines.support import Half, append, trade


def by_content(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[CustomEvent]:
    """Candles whose ids tell what is in them, so that half of one is another event."""

    def renamed(said: CustomEvent) -> CustomEvent:
        return event(said.title, said.payload, timestamp=said.timestamp, holds=said.holds)

    return candle_pipeline.pipeline(frames).pipe(ops.map(renamed))


def expected(journal: MemoryJournal, pipelines: Pipelines) -> list[EncodedEvent]:
    """What an audit expects of the frames that are kept."""
    make = EventMaker(channels=("matches",), rules=EventRules("test"), run=run_as_delivered(journal, pipelines))
    size = journal.size()
    return [one for frame in read_frames(journal, 0, size.last_offset) for one in make(frame)]


@pytest.fixture
def short_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxbridge.progress.STRIDE_FRAMES", 5)
    monkeypatch.setattr("rxbridge.custom_pipelines.holdings.WARM_UP_FRAMES", 0)


@pytest.mark.usefixtures("short_strides")
@pytest.mark.parametrize("kept", [0, 3_000, 20_000])
def test_nothing_is_expected_that_the_kept_frames_cannot_tell(kept: int) -> None:
    contents = [trade(number, number / 2, ("BTC-USD", "ETH-USD")[number % 3 == 0]) for number in range(1, 100)]
    with MemoryJournal(keep_bytes=kept, keep_seconds=1e10) as journal:
        delivered: dict[str, Any] = {}
        for begin in range(0, len(contents), 7):
            append(journal, contents[begin : begin + 7])
            half = Half(journal, by_content)
            assert half.run()
            delivered |= {one.event_id: json.loads(one.body) for one in half.events}

        found = expected(journal, Half(journal, by_content).pipelines)

        first = journal.size().first_offset
        assert (first > 1) == (kept < 20_000)
        assert {one.event_id for one in found} <= set(delivered), "half of a candle is none that ever was"
        if first == 1:
            assert {one.event_id for one in found} == set(delivered)
        if kept == 3_000:
            assert found, "and it is not nothing"


def test_a_pipeline_that_ran_and_is_not_given_is_named() -> None:
    with MemoryJournal(keep_seconds=1e10) as journal:
        append(journal, [trade(1, 0)])
        assert Half(journal, by_content).run()

        with pytest.raises(ConfigError, match="delivered by test:0, not given here"):
            run_as_delivered(journal)
