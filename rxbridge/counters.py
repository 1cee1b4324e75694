"""The counters of a bridge's parts, and beside them what its journal says of itself."""

from __future__ import annotations

import time
from dataclasses import replace

from rxbridge.journal import Journal
from rxbridge.progress import CONSUMER
from rxbridge.telemetry.statistics import (
    BackfillStatistics,
    ConfirmationStatistics,
    DeliveryStatistics,
    FeedStatistics,
    Statistics,
)


class Counters:
    """What each part of a bridge counts into.

    Attributes:
        feed: Counted by the feed.
        backfill: By the backfill.
        delivery: By the delivery.
        confirmation: By the confirmation.
    """

    def __init__(self) -> None:
        self.feed: FeedStatistics = FeedStatistics()
        self.backfill: BackfillStatistics = BackfillStatistics()
        self.delivery: DeliveryStatistics = DeliveryStatistics()
        self.confirmation: ConfirmationStatistics = ConfirmationStatistics()

    def activity(self) -> tuple[int, int]:
        """What changes whenever a frame comes, or an event is delivered."""
        return self.feed.whole().frames, self.delivery.delivered

    def snapshot(self, journal: Journal, *, overloaded: bool) -> Statistics:
        """All of them as they are now.

        Raises:
            JournalError: The journal cannot be read.
        """
        size = journal.size()
        cursor = journal.cursor(CONSUMER)
        oldest = journal.read(cursor, 1)
        age = (time.time_ns() - oldest[0].received_at) / 1e9 if oldest else 0.0
        return Statistics(
            feed=self.feed.whole(),
            backfill=replace(self.backfill),
            delivery=replace(self.delivery, made=dict(self.delivery.made)),
            confirmation=replace(self.confirmation),
            journal_bytes=size.bytes,
            arrived_frames=size.last_offset + size.pending_frames,
            waiting_frames=size.last_offset - max(cursor, size.first_offset - 1) + size.pending_frames,
            dropped_frames=sum(gap.frames for gap in journal.gaps() if gap.kind == "dropped"),
            let_go_frames=journal.let_go(),
            oldest_waiting_seconds=max(age, 0.0),
            market_gaps=sum(1 for _ in journal.market_gaps()),
            overloaded=overloaded,
        )
