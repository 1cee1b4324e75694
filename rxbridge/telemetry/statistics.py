"""The counters, of which every view is made.

Each group is written by one thread only, so plain additions do; `Statistics` is a snapshot for readers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from rxbridge.tables import brief, html_table


@dataclass(slots=True)
class FeedStatistics:
    """What the feed half did.

    Attributes:
        connections: WebSocket connections that were opened.
        disconnections: Connections that ended, other than by our own wish.
        frames: Data frames received, of any kind.
        bytes: Their payload bytes.
        last_frame_at: When the newest was received: nanoseconds since the Unix epoch; 0 before the first.
        renewed_books: Order books that were begun anew on an open connection.
        settled: Subscriptions that Coinbase has answered in full, if only by refusing a part, or by silence.
        rejected_products: Products that Coinbase would not take, with its reason.
        rejected_channels: Channels, likewise, named as on the wire.
        lines: Where there are several connections at the same time, the counters of each, by its number.
    """

    connections: int = 0
    disconnections: int = 0
    frames: int = 0
    bytes: int = 0
    last_frame_at: int = 0
    renewed_books: int = 0
    settled: int = 0
    rejected_products: dict[str, str] = field(default_factory=dict[str, str])
    rejected_channels: dict[str, str] = field(default_factory=dict[str, str])
    lines: dict[int, FeedStatistics] = field(default_factory=dict[int, "FeedStatistics"])

    def of_line(self, number: int) -> FeedStatistics:
        """The counters of one of several connections."""
        return self.lines.setdefault(number, FeedStatistics())

    def whole(self) -> FeedStatistics:
        """All connections together, as they are now."""
        every = [self, *self.lines.values()]
        return FeedStatistics(
            connections=sum(one.connections for one in every),
            disconnections=sum(one.disconnections for one in every),
            frames=sum(one.frames for one in every),
            bytes=sum(one.bytes for one in every),
            last_frame_at=max(one.last_frame_at for one in every),
            renewed_books=sum(one.renewed_books for one in every),
            settled=sum(one.settled for one in every),
            rejected_products={product: why for one in every for product, why in one.rejected_products.items()},
            rejected_channels={channel: why for one in every for channel, why in one.rejected_channels.items()},
        )


@dataclass(slots=True)
class BackfillStatistics:
    """What was found missing, and fetched. Trades, unless the name says otherwise.

    Attributes:
        holes: Holes found: where one or more trade ids in a row were not received, or not yet.
        fetched: Fetched from the REST API and appended to the journal.
        given_up: Recorded as missing for good.
        gaps: Gaps recorded, of trades and of quotes.
        missing: Still to fetch, or to wait for.
        requests: Requests sent.
        failed_requests: Those without an answer that can be used, and those after which something was still missing.
        done: How many of those that were missing since the last time that nothing was are settled by now.
        total: And how many that is in all: `done` and `missing`. Both are 0 while nothing is missing.
    """

    holes: int = 0
    fetched: int = 0
    given_up: int = 0
    gaps: int = 0
    missing: int = 0
    requests: int = 0
    failed_requests: int = 0
    done: int = 0
    total: int = 0


@dataclass(slots=True)
class DeliveryStatistics:
    """What the delivery half did. Events, unless the name says otherwise.

    Attributes:
        received: Made from the frames that were read.
        ignored: Frames that make no event: acknowledgements, heartbeats, channels filtered out.
        repeated: Frames whose event had been made before.
        unknown: Frames of a kind that rxbridge does not know; they are among the ignored.
        delivered: Stored by PulseStream, or found stored there already.
        already_stored: Those among the delivered that PulseStream had already.
        dead: Refused for good; they are in the dead letters.
        dropped: Given up by the overload policy.
        requests: Requests sent.
        failed_requests: Requests after which something had to be tried again.
        throttled: Answers that said the rate limit was reached.
        last_delivery_at: When the newest batch was settled: nanoseconds since the Unix epoch; 0 before the first.
        made: Made by users' pipelines, by their names; those that a failure had to be made again count again.
    """

    received: int = 0
    ignored: int = 0
    repeated: int = 0
    unknown: int = 0
    delivered: int = 0
    already_stored: int = 0
    dead: int = 0
    dropped: int = 0
    requests: int = 0
    failed_requests: int = 0
    throttled: int = 0
    last_delivery_at: int = 0
    made: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class ConfirmationStatistics:
    """What was proven of the deliveries. Events, unless the name says otherwise.

    Attributes:
        confirmed: Proven to be stored: PulseStream was given them once more, and had them.
        vouched: Not looked at one by one, but between others that are proven.
        missing: Of those that PulseStream had confirmed, found not to be stored, and sent again.
        resent: How often those were sent in all: one that is lost again is sent again.
        refused: Of the missing, refused for good when they were sent again; they are in the dead letters.
        unproven: Of the missing, those that are not proven yet.
        behind_frames: Frames that are acknowledged as delivered, and whose events are not proven yet.
        posts: Counts its requests; of the rest of it, nothing is told here.
    """

    confirmed: int = 0
    vouched: int = 0
    missing: int = 0
    resent: int = 0
    refused: int = 0
    unproven: int = 0
    behind_frames: int = 0
    posts: DeliveryStatistics = field(default_factory=DeliveryStatistics)


@dataclass(frozen=True, slots=True)
class Statistics:
    """All counters at one moment.

    Attributes:
        feed: Of the feed half.
        backfill: Of the search for what the feed did not bring.
        delivery: Of the delivery half.
        confirmation: Of the proof that what was delivered is stored.
        journal_bytes: What the journal holds.
        arrived_frames: Frames that it has ever taken, from any process.
        waiting_frames: Those that are not acknowledged yet.
        dropped_frames: Those that it gave up when it was full, and that were not delivered.
        let_go_frames: Those that it gave up when it was full, and that were delivered but still needed: mostly to look
            whether PulseStream has really stored them.
        oldest_waiting_seconds: How long the oldest of the waiting frames has waited.
        market_gaps: What is known to be missing from the market.
        overloaded: Whether PulseStream is slower than the market.
    """

    feed: FeedStatistics
    backfill: BackfillStatistics
    delivery: DeliveryStatistics
    confirmation: ConfirmationStatistics
    journal_bytes: int
    arrived_frames: int
    waiting_frames: int
    dropped_frames: int
    let_go_frames: int
    oldest_waiting_seconds: float
    market_gaps: int
    overloaded: bool

    def __repr__(self) -> str:
        return f"Statistics({', '.join(f'{name}={brief(value)}' for name, value in self._counted())})"

    def _repr_html_(self) -> str:
        return html_table("Statistics: all that is not zero", (), self._counted())

    def _counted(self) -> list[tuple[str, object]]:
        """Every counter that has counted something, by its full name."""
        counted: list[tuple[str, object]] = []
        for group in fields(self):
            value = getattr(self, group.name)
            if group.name in {"feed", "backfill", "delivery", "confirmation"}:
                counted += [(f"{group.name}.{one.name}", getattr(value, one.name)) for one in fields(value)]
            else:
                counted.append((group.name, value))
        return [(name, value) for name, value in counted if value and not isinstance(value, DeliveryStatistics)]
