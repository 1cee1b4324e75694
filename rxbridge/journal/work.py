"""What goes to the thread that writes a journal, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import msgspec

from rxbridge.journal.pending import Chunk
from rxbridge.journal.retention import LetGo, Loss


class Task:
    """Statements to execute in the next transaction, all in one, each with the parameters of its executions."""

    def __init__(self, *steps: tuple[str, Sequence[tuple[Any, ...]]]) -> None:
        self.steps = steps
        self.done: Event = Event()
        self.error: Exception | None = None


class TaskRefused(Exception):
    """SQLite cannot take a task's parameters, such as a number beyond 64 bits."""

    def __init__(self, task: Task, error: Exception) -> None:
        self.task = task
        self.error = error
        super().__init__(str(error))


@dataclass(slots=True)
class Work:
    """What one transaction is to write.

    Attributes:
        chunks: Frames, in order.
        tasks: Statements.
        lost: Frames that were given up before they could be written.
        wanted: Bytes for which somebody waits.
        urgent: Whether the disk is full, so that whatever is acknowledged must go.
    """

    chunks: list[Chunk] = field(default_factory=list[Chunk])
    tasks: list[Task] = field(default_factory=list[Task])
    lost: Loss = field(default_factory=Loss)
    wanted: int = 0
    urgent: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """How the journal is after a transaction.

    Attributes:
        last_offset: The newest offset ever given out.
        newest: The newest offset that can be read; 0 if none can.
        held: Bytes that it holds.
        acknowledged: What the slowest consumer has acknowledged.
        freed: Whether frames were removed.
        unfinished: Whether more is to be removed.
        began_to_drop: Whether unacknowledged frames were dropped, and not just before.
        let_go: The frames that went unacknowledged by some, and are no loss.
    """

    last_offset: int = 0
    newest: int = 0
    held: int = 0
    acknowledged: int = 0
    freed: bool = False
    unfinished: bool = False
    began_to_drop: bool = False
    let_go: LetGo = LetGo()
