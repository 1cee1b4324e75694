"""The feed half: socket ─► journal, and nothing else. It never waits for the sink."""

from __future__ import annotations

import threading

from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase

from rxbridge.journal import Journal
from rxbridge.messages import Frame


class Feed:
    """Appends every frame to the journal, from start to stop.

    Attributes:
        failure: What ended the feed for good, such as a subscription that Coinbase takes no product of; else None.
    """

    def __init__(self, frames: Observable[Frame], journal: Journal) -> None:
        self.failure: Exception | None = None
        self._frames = frames
        self._journal = journal
        self._ended = threading.Event()
        self._subscription: DisposableBase | None = None

    def start(self) -> None:
        """Connect, on a thread of the feed's own; returns at once."""
        self._subscription = self._frames.subscribe(self._journal.append, self._failed, self._ended.set)

    def stop(self) -> None:
        """Disconnect. Frames that were received are in the journal."""
        if self._subscription is not None:
            self._subscription.dispose()

    @property
    def ended(self) -> bool:
        """Whether the feed is over without having been stopped."""
        return self._ended.is_set()

    def _failed(self, error: Exception) -> None:
        logger.error("[FATAL] The feed has ended: {}", error)
        self.failure = error
        self._ended.set()
