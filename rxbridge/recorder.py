"""Coinbase's feed into a recording: connect, write, reconnect, until somebody says stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from loguru import logger

from rxbridge import assembly
from rxbridge.coinbase import ProductsInForce
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.config import Settings
from rxbridge.errors import RecordingError
from rxbridge.journal.memory import MemoryJournal
from rxbridge.left_out import some
from rxbridge.messages import Frame
from rxbridge.products import ProductWatch
from rxbridge.recording import RecordingWriter
from rxbridge.telemetry.statistics import FeedStatistics

_TICK_SECONDS = 0.25
_LAST_SECONDS = 0.5


class Recorder:
    """Writes what Coinbase sends of the settings' products and channels; the products follow Coinbase's list.

    Args:
        settings: Of the feed; those of journal, delivery and PulseStream have no say.
        writer: The recording. Its owner closes it.
        stop: Set by its owner when time is up.

    Attributes:
        statistics: Of the feed.
    """

    def __init__(self, settings: Settings, writer: RecordingWriter, stop: threading.Event) -> None:
        self.statistics: FeedStatistics = FeedStatistics()
        self._settings = settings
        self._writer = writer
        self._stop = stop
        self._in_force: ProductsInForce | None = None
        self._failure: Exception | None = None
        # Notes of the list of products are for the next start of a bridge; this one has no next.
        self._watch: ProductWatch = assembly.product_watch(settings, MemoryJournal(), stop, self._change)

    def run(self, each_second: Callable[[], None], seconds: float | None = None) -> None:
        """Record until `stop` is set, or for so long.

        Args:
            each_second: Is called about once a second, when what was received is in the file.
            seconds: How long after the start it ends.

        Raises:
            RecordingError: The recording cannot be written, such as on a full disk.
            SubscriptionRejected: Coinbase takes none of the products.
            ConfigError: Nothing that trades is asked for.
        """
        products = self._watch.settle()
        if not products:
            return  # stopped while it waited
        self._in_force = ProductsInForce(products)
        settings = assembly.subscribed_to(self._settings, products)
        frames = assembly.frames(settings, self._in_force, BooksInDoubt(), self.statistics)
        subscription = frames.subscribe(self._take, self._failed)
        self._watch.start()
        try:
            self._wait(each_second, None if seconds is None else time.monotonic() + seconds)
        finally:
            subscription.dispose()
            self._stop.set()
            self._watch.close(_LAST_SECONDS)

    def _wait(self, each_second: Callable[[], None], deadline: float | None) -> None:
        due = 0.0
        while not self._stop.wait(_TICK_SECONDS):
            if self._failure is not None:
                raise self._failure
            now = time.monotonic()
            if now >= due:
                due = now + 1
                # A feed that is silent has no frame that would take the last ones with it.
                self._writer.flush()
                each_second()
            if deadline is not None and now >= deadline:
                return

    def _take(self, frame: Frame) -> None:
        if self._failure is not None or self._stop.is_set():
            return
        try:
            self._writer.append(frame)
        except RecordingError as error:
            self._failure = error

    def _failed(self, error: Exception) -> None:
        self._failure = error

    def _change(self, added: Sequence[str], removed: Sequence[str]) -> None:
        assert self._in_force is not None, "the watch starts when it is known"  # noqa: S101
        changes = [("added", added), ("removed", removed)]
        words = "; ".join(f"{what}: {some(products)}" for what, products in changes if products)
        logger.info("[PRODUCTS] The list has changed, which takes effect now. {}", words)
        self._in_force.set(self._watch.products)
