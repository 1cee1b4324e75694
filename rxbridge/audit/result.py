"""What an audit found."""

from __future__ import annotations

import msgspec


class Hole(msgspec.Struct, frozen=True):
    """Trades of a product, by their ids and both inclusive, that are nowhere, and that no gap on record explains."""

    product: str
    first: int
    last: int


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The result, in events.

    Attributes:
        received: Events that the received frames made or should have made.
        delivered: Those that are acknowledged as stored.
        dead: Those that are dead letters.
        dropped: Those that a policy gave up, the journal's or the delivery's, and purged dead letters.
        waiting: Those that are still to be delivered.
        stored: Received events that the server holds.
        duplicates: Rows that the server holds beyond one for each of them.
        missing: Delivered events that the server does not hold.
        trade_holes: Ranges of missing trade ids that nothing explains.
        open_trades: Missing trades that the backfill has yet to fetch, or to look at.
        gaps: Gaps on record: what never came from the market, and cannot be fetched.
        purged: Those among the dropped that were purged dead letters.
        repaired: Those that were missing, and were sent again by this audit.
        unjudged_images: How many images of books there may have been, of which the journal keeps too little to say so;
            not among the received.
        unconfirmed: Those among the missing for which the bridge's own confirmation is still to look.
        ignored: Frames that make no event; not among the received.
        repeated: Frames whose event was received before; not among the received.
        unreadable: Frames that the journal's file lost, which may have made events that nobody can know of.
        acknowledged_gaps: Such frames, in gaps that somebody has taken note of.
        missing_ids: The first hundred of the missing.
        holes: The first hundred of the trade holes.
        holes_note: Why trade holes are no failure, such as that nothing is fetched; else empty.
    """

    received: int
    delivered: int
    dead: int
    dropped: int
    waiting: int
    stored: int
    duplicates: int
    missing: int
    trade_holes: int = 0
    open_trades: int = 0
    gaps: int = 0
    purged: int = 0
    repaired: int = 0
    unjudged_images: int = 0
    unconfirmed: int = 0
    ignored: int = 0
    repeated: int = 0
    unreadable: int = 0
    acknowledged_gaps: int = 0
    missing_ids: tuple[str, ...] = ()
    holes: tuple[Hole, ...] = ()
    holes_note: str = ""

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing stored twice, nothing unaccounted for, no trade missing without a word."""
        accounted = self.delivered + self.dead + self.dropped + self.waiting
        nothing_wrong = self.missing == self.duplicates == self.unreadable == 0
        return self.received == accounted and nothing_wrong and (not self.trade_holes or bool(self.holes_note))

    def __str__(self) -> str:
        """The line that every audit ends with."""
        names = ("received", "delivered", "dead", "dropped", "waiting", "stored", "duplicates", "missing")
        counts = " ".join(f"{name}={getattr(self, name)}" for name in (*names, "trade_holes", "gaps"))
        return f"audit {'ok' if self.ok else 'FAILED'}: {counts}"
