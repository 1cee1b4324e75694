"""Candles of what Coinbase really sent, by a user's pipeline that is stopped again and again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame
from rxbridge.playing import selection
from rxbridge.recording.playing import recorded_frames
from tests.rxbridge.custom_pipelines.support import Half
from tests.rxbridge.custom_pipelines.test_delivery import candles


def delivered(journal: MemoryJournal, frames: Sequence[Frame]) -> dict[str, Any]:
    """What one process makes of some more frames."""
    for frame in frames:
        journal.append(frame)
    assert journal.flush(10)
    half = Half(journal, candles, batch_count=100)
    assert half.run()
    return half.contents()


@pytest.mark.parametrize("name", ["exchange-2021", "advanced-2026"])
def test_a_stop_after_any_frames_changes_no_candle(
    name: str, real_recording: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxbridge.custom_pipelines.holdings.WARM_UP_FRAMES", 0)
    frames = list(recorded_frames(str(real_recording(name)), selection(None, None, [])))
    with MemoryJournal() as journal:
        whole = delivered(journal, frames)
    step = len(frames) // 12
    parts: dict[str, Any] = {}
    # What is delivered and not held goes at once.
    with MemoryJournal(keep_bytes=0) as journal:
        for begin in range(0, len(frames), step):
            for key, content in delivered(journal, frames[begin : begin + step]).items():
                assert parts.setdefault(key, content) == content
        assert not list(journal.dead_letters())

    assert len(whole) > 10
    assert parts == whole
