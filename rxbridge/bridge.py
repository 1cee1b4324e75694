"""The composition root: settings in, a running bridge out.

    Coinbase ─► Feed ─► Journal ─► Delivery ─► PulseStream
                        ▲  │  │                    ▲
        REST ─► Backfill┴──┘  └─► Confirmation ────┘

The two halves know nothing of each other; the backfill works for the first, the confirmation for the second. With the
role `feed` or `deliver` a process runs only one half, and two such processes share one journal file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from loguru import logger

from rxbridge import assembly
from rxbridge.backfill import CONSUMER as BACKFILL
from rxbridge.backfill import Backfill
from rxbridge.channel_history import record_channels
from rxbridge.coinbase import ProductsInForce
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.config import Settings
from rxbridge.confirmation import Confirmation, switch_off
from rxbridge.counters import Counters
from rxbridge.custom_pipelines import BUILTIN_ONLY, Pipelines
from rxbridge.delivery import Delivery
from rxbridge.doubts import heed
from rxbridge.errors import ConfigError, JournalError
from rxbridge.feed import Feed
from rxbridge.left_out import some
from rxbridge.overload import OverloadMonitor, load_of
from rxbridge.products import ProductWatch
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.pulsestream.key_check import check_key
from rxbridge.telemetry.statistics import Statistics

_TICK_SECONDS = 0.25
_CHECK_SECONDS = 10.0
_CONFIRM_SECONDS = 2.0
_LAST_SECONDS = 0.5
_JOURNAL_PART = 0.75
"""How much of the time for a shutdown a disk may take that takes nothing."""


class Bridge:
    """A bridge: `with Bridge(settings) as bridge: bridge.run()` connects, delivers until `stop`, then drains.

    Args:
        settings: What `rxbridge.config.load` returned.
        stop: What `stop` sets, for one who must be able to set it before there is a bridge.
        pipelines: In the place of those that the settings name.

    Attributes:
        last_statistics: The counters as they were when it was drained; None until then.

    Raises:
        ConfigError: No API key; a dry run of one half only; or a user's pipeline that is none.
        JournalInUse: Another process has this role on the same journal.
        Unauthorized: PulseStream refused the key, several times in a row.
    """

    def __init__(
        self, settings: Settings, stop: threading.Event | None = None, *, pipelines: Pipelines | None = None
    ) -> None:
        if settings.run.dry_run and settings.run.role != "both":
            raise ConfigError("run.dry_run", f"a dry run has both halves, not the role {settings.run.role!r}")
        # Before anything is opened. The feed half makes no events, and its machine may not have the user's module.
        if pipelines is None:
            pipelines = BUILTIN_ONLY if settings.run.role == "feed" else assembly.pipelines(settings)
        self._pipelines = pipelines
        self.last_statistics: Statistics | None = None
        self._settings = settings
        self._stopping = threading.Event() if stop is None else stop
        self._counters = Counters()
        self._overload = OverloadMonitor(settings.delivery.overload)
        self._activity = (0, 0)
        self._active_at = time.monotonic()
        self._clients = ExitStack()
        self._client = self._make_client()
        try:
            self._journal = assembly.journal(settings)
        except BaseException:
            self._clients.close()
            raise
        role = settings.run.role
        self._feed: Feed | None = None
        self._backfill: Backfill | None = None
        feeds = role in ("both", "feed")
        self._in_force: ProductsInForce | None = None
        self._in_doubt = BooksInDoubt()
        self._products = (
            assembly.product_watch(settings, self._journal, self._stopping, self._change) if feeds else None
        )
        self._delivery = self._make_delivery() if role in ("both", "deliver") else None
        self._confirmation = self._make_confirmation()

    def __enter__(self) -> Self:
        """Start both halves, and what works for them; with wildcards, the feed once it is known what they mean.

        Raises:
            ConfigError: Nothing that trades is asked for.
            JournalError: The journal takes nothing, and other channels are asked for than before.
        """
        try:
            self._prepare()
        except BaseException:
            self._let_go()
            raise
        if self._confirmation is not None:
            self._confirmation.start()
        if self._delivery is not None:
            self._delivery.start()
        if self._products is not None:
            try:
                self._start_feed(self._products)
            except BaseException:
                self.drain()
                raise
        self._active_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain, then let go of everything."""
        self.drain()

    def stop(self) -> None:
        """Ask `run` to return. May be called from any thread and from a signal handler."""
        self._stopping.set()

    def ask_for(self, products: Sequence[str]) -> None:
        """Feed other products from now on: ids and wildcards, as in `feed.products`. May be called from any thread.

        It takes effect as soon as it is known what they mean: on the connection that is open, and nothing is lost. A
        process without the feed half has nothing to do.
        """
        if self._products is not None:
            self._products.ask_for(products)

    def run(
        self,
        each_second: Callable[[Statistics], None] | None = None,
        reread: Callable[[], Sequence[str] | None] | None = None,
    ) -> None:
        """Block until `stop`, until the bridge is idle for `run.exit_when_idle`, or until the feed ends for good.

        Args:
            each_second: Is given the statistics about once a second.
            reread: Is asked all the time whether other products are to be fed.

        Raises:
            SubscriptionRejected: Coinbase takes none of the products.
        """
        told_at = 0.0
        every = (self._feed, self._backfill, self._delivery, self._confirmation)
        parts = [part for part in every if part is not None]
        while not self._stopping.wait(_TICK_SECONDS):
            if self._delivery is not None:
                self._acknowledge_idle(self._delivery)
            if reread is not None and (products := reread()) is not None:
                self.ask_for(products)
            for part in parts:
                if part.ended:
                    # A process that lives with a part that is dead would look well and do nothing.
                    if part.failure is not None:
                        raise part.failure
                    return
            if self._idle():
                logger.info("[IDLE] No frame for {:g} s and everything delivered", self._settings.run.exit_when_idle)
                return
            if time.monotonic() - told_at >= 1:
                told_at = time.monotonic()
                self._look(each_second)

    def drain(self) -> bool:
        """Stop the feed, deliver what is in hand, close everything; within `run.shutdown_seconds`.

        Returns:
            Whether everything was delivered. What was not waits in the journal for the next start.
        """
        deadline = time.monotonic() + self._settings.run.shutdown_seconds
        self._stopping.set()
        # Each thing that is to be written would be waited for otherwise, one after the other.
        self._journal.hurry(self._settings.run.shutdown_seconds * _JOURNAL_PART)
        if self._feed is not None:
            self._feed.stop()
        if self._backfill is not None:
            self._backfill.stop()
        try:
            complete = self._journal.flush(self._settings.run.shutdown_seconds / 4)
            if self._delivery is not None:
                complete = self._delivery.drain(max(deadline - time.monotonic(), 0)) and complete
            if self._confirmation is not None:
                # What is not proven now is after the next start: a shutdown does not wait for it to ripen.
                self._confirmation.stop(min(max(deadline - time.monotonic(), 0), _CONFIRM_SECONDS))
            if self._backfill is not None:
                self._backfill.drain(max(deadline - time.monotonic(), _LAST_SECONDS))
            if self._products is not None:
                self._products.close(_LAST_SECONDS)
            statistics = self.statistics()
            # What the disk has not taken by now may be lost, which the journal tells of when it is closed.
            waiting = statistics.waiting_frames - self._journal.size().pending_frames
            self.last_statistics = replace(statistics, waiting_frames=waiting)
            if not complete and waiting:
                logger.warning("[DRAINED] {} frames wait in the journal for the next start", waiting)
        finally:
            self._let_go()
        return complete

    def statistics(self) -> Statistics:
        """All counters as they are now."""
        return self._counters.snapshot(self._journal, overloaded=self._overload.overloaded)

    def _idle(self) -> bool:
        limit = self._settings.run.exit_when_idle
        if limit is None:
            return False
        # Whatever happened last: a frame, a delivery, or the start. A step of the wall clock is no silence.
        activity = self._counters.activity()
        if activity != self._activity:
            self._activity, self._active_at = activity, time.monotonic()
        if time.monotonic() - self._active_at < limit:
            return False
        if not self._journal.flush(0):
            return False
        if self._delivery is not None and not self._delivery.progress.caught_up():
            return False
        if self._backfill is not None and not self._backfill.idle:
            return False
        return self._confirmation is None or self._confirmation.caught_up()

    def _look(self, each_second: Callable[[Statistics], None] | None) -> None:
        """See how things are, do something about an overload, and show it."""
        try:
            if self._feed is not None:
                # Whoever delivers finds out, here or in another process, and only the feed can do something about it.
                heed(self._journal, self._in_doubt)
            statistics = self.statistics()
        except JournalError as error:
            logger.warning("[JOURNAL] Cannot be read now: {}", error)
            return
        if self._delivery is not None:
            limit = self._settings.journal.max_bytes
            if told := self._overload.observe(load_of(statistics, at=time.monotonic(), journal_limit=limit)):
                logger.warning("[OVERLOAD] {}", told)
            self._delivery.overloaded = self._overload.overloaded
        if each_second is not None:
            each_second(statistics)

    def _acknowledge_idle(self, delivery: Delivery) -> None:
        try:
            delivery.progress.acknowledge_idle()
        except (JournalError, ValueError) as error:
            # ValueError: the file was damaged and replaced, and the new one has not come as far.
            logger.warning("[JOURNAL] Cannot acknowledge now, will try again: {}", error)

    def _make_client(self) -> PulseStreamClient | None:
        if self._settings.run.role == "feed" or self._settings.run.dry_run:
            return None
        patient = self._settings.pulsestream
        hasty = patient.model_copy(update={"read_timeout_seconds": min(_CHECK_SECONDS, patient.read_timeout_seconds)})
        check_key(assembly.pulsestream_client(hasty), self._stopping)
        return self._clients.enter_context(assembly.pulsestream_client(self._settings.pulsestream))

    def _prepare(self) -> None:
        """What the journal must know before anything starts; what this raises lets go of everything."""
        if self._products is not None:
            # Before the first frame that it is for, and before anybody looks.
            record_channels(self._journal, self._settings.feed.channels)

    def _let_go(self) -> None:
        self._journal.close()
        self._clients.close()

    def _start_feed(self, watch: ProductWatch) -> None:
        products = watch.settle()
        if not products:
            return  # stopped while it waited
        settings = assembly.subscribed_to(self._settings, products)
        self._in_force = ProductsInForce(products)
        feed = assembly.feed(settings, self._in_force, self._in_doubt, self._journal, self._counters.feed)
        if settings.backfill.enabled:
            self._backfill = assembly.backfill(settings, self._journal, self._counters.backfill)
            self._backfill.start()
        else:
            self._journal.forget(BACKFILL)
        self._feed = feed
        self._feed.start()
        watch.start()

    def _change(self, added: Sequence[str], removed: Sequence[str]) -> None:
        """Other products, on the watch's thread; first for the backfill, that it sees the first trade of each."""
        assert self._products is not None  # noqa: S101
        assert self._in_force is not None, "the watch starts when the feed has"  # noqa: S101
        changes = [("added", added), ("removed", removed)]
        words = "; ".join(f"{what}: {some(products)}" for what, products in changes if products)
        logger.info("[PRODUCTS] The list has changed, which takes effect now. {}", words)
        products = self._products.products
        if self._backfill is not None:
            self._backfill.follow(*assembly.followed_by_backfill(self._settings, products))
        self._in_force.set(products)

    def _make_confirmation(self) -> Confirmation | None:
        if self._client is None:
            return None
        if self._settings.delivery.confirm == "none":
            switch_off(self._journal)
            return None
        # A connection of its own: a client takes one request at a time.
        client = self._clients.enter_context(assembly.pulsestream_client(self._settings.pulsestream))
        return assembly.confirmation(
            self._settings,
            self._journal,
            client,
            pipelines=self._pipelines,
            statistics=self._counters.confirmation,
        )

    def _make_delivery(self) -> Delivery:
        return assembly.delivery(
            self._settings,
            self._journal,
            self._client,
            pipelines=self._pipelines,
            statistics=self._counters.delivery,
            stop=self._stopping,
        )
