"""Frames at which a user's pipeline fails again and again: they are withheld from it, as dead letters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeAlias

from rxbridge.errors import PipelineFailed
from rxbridge.journal import DeadLetter, Journal
from rxbridge.messages import Frame

MOST_FAILURES = 10
"""A pipeline that fails so often in a row, without having made an event in between, is given up."""

_TRIES = 2

Withheld: TypeAlias = Mapping[tuple[str, int], str]
"""Why a frame is withheld, by the pipeline's name and the frame's offset."""


class Failures:
    """Counts the failures of pipelines, and decides which frames are withheld.

    Args:
        withheld: Those that were before.

    Attributes:
        withheld: Those that are, from the next start on.
        newest: The offsets of the newest events, by pipeline; written by whoever runs them.
    """

    def __init__(self, withheld: Withheld) -> None:
        self.withheld: dict[tuple[str, int], str] = dict(withheld)
        self.newest: dict[str, int] = {}
        self._last: PipelineFailed | None = None
        self._times = 0
        self._made = 0

    def note(self, error: PipelineFailed) -> PipelineFailed | None:
        """Take note of a failure; the error to end with, if it was one too many."""
        made = self.newest.get(error.pipeline, 0)
        last, self._last = self._last, error
        same = last is not None and last.pipeline == error.pipeline
        self._times = self._times + 1 if same and made == self._made else 1
        self._made = made
        if self._times >= MOST_FAILURES:
            return PipelineFailed(error.pipeline, error.offset, error.problem, self._times)
        if last is not None and same and last.offset == error.offset:
            self.withheld[error.pipeline, error.offset] = error.problem
        return None


def withheld_letter(pipeline: str, frame: Frame, problem: str) -> DeadLetter:
    """The dead letter of a frame that is withheld."""
    return pipeline_letter(_key(pipeline, frame.offset), frame, problem)


def pipeline_letter(key: str, frame: Frame, problem: str) -> DeadLetter:
    """The dead letter of what a pipeline could not use, or not make, of a frame."""
    now = time.time_ns()
    return DeadLetter(
        offset=frame.offset,
        event_id=key,
        stage="pipeline",
        reason=problem,
        content=frame.data,
        first_attempt=now,
        last_attempt=now,
    )


def read_withheld(journal: Journal, after: int) -> dict[tuple[str, int], str]:
    """The frames above an offset that were withheld before, by their dead letters.

    Raises:
        JournalError: The journal cannot be read.
    """
    found: dict[tuple[str, int], str] = {}
    for letter in journal.dead_letters(after):
        name = letter.event_id.rpartition(" ")[0]
        if letter.stage == "pipeline" and letter.event_id == _key(name, letter.offset):
            found[name, letter.offset] = letter.reason
    return found


def _key(pipeline: str, offset: int) -> str:
    return f"{pipeline} {offset}"
