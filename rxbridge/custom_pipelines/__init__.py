"""Pipelines of a user's own, beside or instead of the built-in one: `pipeline(frames) -> Observable[CustomEvent]`.

They run between journal and batch, all of them a frame at a time and on one thread, their timers by the frames' own
time. So what they make is a function of the frames alone: a restart, the confirmation and the audit make it again.
"""

from rxbridge.custom_pipelines.checkpoints import STRIDE_FRAMES, add_checkpoint, judged_after, read_checkpoints
from rxbridge.custom_pipelines.history import History, counts_always, read_history, record_pipelines
from rxbridge.custom_pipelines.holdings import WARM_UP_FRAMES, Holdings, has_lost_state, rebuild_from, release
from rxbridge.custom_pipelines.loading import (
    BUILTIN,
    BUILTIN_ONLY,
    Chosen,
    Pipeline,
    Pipelines,
    load_pipelines,
    stateful,
)
from rxbridge.custom_pipelines.making import Run, custom_events
from rxbridge.custom_pipelines.withholding import Failures, read_withheld

__all__ = [
    "BUILTIN",
    "BUILTIN_ONLY",
    "STRIDE_FRAMES",
    "WARM_UP_FRAMES",
    "Chosen",
    "Failures",
    "History",
    "Holdings",
    "Pipeline",
    "Pipelines",
    "Run",
    "add_checkpoint",
    "counts_always",
    "custom_events",
    "has_lost_state",
    "judged_after",
    "load_pipelines",
    "read_checkpoints",
    "read_history",
    "read_withheld",
    "rebuild_from",
    "record_pipelines",
    "release",
    "stateful",
]
