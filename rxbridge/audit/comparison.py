"""The comparison: what the journal received, held against what PulseStream holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from rxbridge.audit.expectations import run_as_delivered
from rxbridge.audit.gaps import acknowledged_gaps, is_acknowledged
from rxbridge.audit.ledger import Ledger
from rxbridge.audit.repair import Repair
from rxbridge.audit.result import Audit
from rxbridge.audit.trades import TradeBook
from rxbridge.backfill import CONSUMER as BACKFILL
from rxbridge.backfill.state import State, decode
from rxbridge.books import CHANNEL, Books
from rxbridge.channel_history import ChannelHistory, channels_as_received
from rxbridge.confirmation import EventMaker, confirmed_up_to, purged_offsets
from rxbridge.custom_pipelines import BUILTIN_ONLY, Pipelines, Run
from rxbridge.events import SERVICE, EventRules, Rules
from rxbridge.journal import DeadLetter, Gap, Journal, JournalSize
from rxbridge.messages import Frame
from rxbridge.progress import CONSUMER
from rxbridge.pulsestream import PulseStreamClient, stored_events
from rxbridge.rule_history import rules_as_delivered
from rxbridge.telemetry.statistics import DeliveryStatistics

Report: TypeAlias = Callable[[str, int, int], None]
"""Is told of progress: what is being done, how far, of how much (0 if that is not known)."""

_SHOWN = 100


def audit(
    journal: Journal,
    client: PulseStreamClient,
    *,
    channels: Sequence[str],
    rules: EventRules,
    pipelines: Pipelines = BUILTIN_ONLY,
    repair: Repair | None = None,
    holes_note: str = "",
    report: Report = lambda _what, _done, _total: None,
) -> Audit:
    """Compare what the journal holds with what PulseStream holds.

    Frames that the journal has pruned, because they were delivered long ago, are outside of the audit.

    Args:
        journal: May be in use by a running bridge; the audit then speaks of the moment at which it began.
        client: Where to look.
        channels: Whose messages become events, where the journal does not say for which channels its frames came.
        rules: How messages become events, where the journal does not say how they did.
        pipelines: Those that ran, the users' ones at least.
        repair: Sends again what is missing; None: it is only told of.
        holes_note: Why missing trades that are on no record are no failure; empty: they are one.
        report: Is told of progress.

    Raises:
        Unreachable: PulseStream cannot be asked.
        Unauthorized: It refuses the key.
        JournalError: The journal cannot be read.
        ConfigError: A user's pipeline ran that is not given.
        PipelineFailed: One fails at a frame, as it did not in the delivery.
    """
    run, held = run_as_delivered(journal, pipelines), rules_as_delivered(journal, rules)
    asked = channels_as_received(journal, channels)
    with tempfile.TemporaryDirectory(prefix="rxbridge-audit-") as folder, Ledger(Path(folder) / "ledger") as ledger:
        # Before the frames: what is dropped meanwhile is then counted in one place at most.
        gaps = list(journal.gaps())
        # And before their number: what is fetched meanwhile was missing still.
        backfill = _backfill_state(journal)
        size = journal.size()
        trades = TradeBook(complete=size.first_offset <= 1, backfill=backfill)
        counted, unjudged = _read_journal(
            journal, size, ledger=ledger, trades=trades, asked=asked, rules=held, run=run, report=report
        )
        # In the order in which a purge writes them.
        ledger.dead(_key(letter) for letter in journal.dead_letters(max(size.first_offset - 1, 0)))
        ledger.give_up(journal.dropped(), "dropped")
        ledger.give_up(purged_offsets(journal), "purged")
        _read_server(client, ledger, counted, report)
        repaired = 0
        if repair is not None:
            missing = ledger.balance().missing
            repaired = repair.run(ledger, lambda done: report("what is sent again", done, missing))
        return _result(
            journal,
            ledger,
            counted,
            gaps=[*gaps, *_found_by_reading(journal, gaps)],
            trades=trades,
            holes_note=holes_note,
            repaired=repaired,
            unjudged=unjudged,
        )


def _read_journal(
    journal: Journal,
    size: JournalSize,
    *,
    ledger: Ledger,
    trades: TradeBook,
    asked: ChannelHistory,
    rules: Rules,
    run: Run,
    report: Report,
) -> tuple[DeliveryStatistics, int]:
    """What was counted, and how many images of books nobody can judge."""
    cursor = journal.cursor(CONSUMER)
    counted = DeliveryStatistics()

    def letter(letter: DeadLetter) -> None:
        ledger.expect_letter(_key(letter), letter.offset, acknowledged=letter.offset <= cursor)

    books = Books(rules, once_more=True)
    make = EventMaker(
        channels=asked,
        rules=rules,
        statistics=counted,
        dead_letter=letter,
        told=trades.trade,
        kept_books=books if asked.has_asked(CHANNEL) else None,
        run=run,
    )
    for frame in _frames(journal, size, report):
        trades.read(frame)
        for event in make(frame):
            ledger.expect(
                event.event_id,
                event.timestamp,
                event.offset,
                acknowledged=event.offset <= cursor,
                service=event.service or SERVICE,
            )
    return counted, books.unjudged


def _frames(journal: Journal, size: JournalSize, report: Report) -> Iterator[Frame]:
    after = max(size.first_offset - 1, 0)
    while after < size.last_offset and (read := journal.read(after)):
        yield from (frame for frame in read if frame.offset <= size.last_offset)
        after = read[-1].offset
        report("journal", after - size.first_offset + 1, size.last_offset - size.first_offset + 1)


def _read_server(client: PulseStreamClient, ledger: Ledger, counted: DeliveryStatistics, report: Report) -> None:
    done = 0
    for service, (first, last) in list(ledger.spans.items()):
        end = last + timedelta(milliseconds=1)
        for row in stored_events(client, service=service, start=first, end=end):
            ledger.found(row.event_id)
            done += 1
            if done % 1000 == 0:
                report("PulseStream", done, counted.received)


def _backfill_state(journal: Journal) -> State:
    """Where there is none, or one of another version, the backfill begins anew, and has yet to look at everything."""
    note = journal.recall(BACKFILL)
    return (None if note is None else decode(note)) or State()


def _found_by_reading(journal: Journal, known: Sequence[Gap]) -> list[Gap]:
    """The damage that was met while the frames were read, and is on no record yet."""
    return [gap for gap in journal.gaps() if gap.kind == "corrupt" and gap not in known]


def _result(
    journal: Journal,
    ledger: Ledger,
    counted: DeliveryStatistics,
    *,
    gaps: Sequence[Gap],
    trades: TradeBook,
    holes_note: str,
    repaired: int,
    unjudged: int,
) -> Audit:
    balance = ledger.balance()
    by_journal = sum(gap.events for gap in gaps if gap.kind == "dropped")
    known = acknowledged_gaps(journal)
    damage = [gap for gap in gaps if gap.kind != "dropped"]
    confirmed = confirmed_up_to(journal)
    holes, still_open = trades.missing(journal.market_gaps())
    return Audit(
        received=balance.received + by_journal,
        delivered=balance.delivered,
        dead=balance.dead,
        dropped=balance.dropped + by_journal,
        waiting=balance.waiting,
        stored=balance.stored,
        duplicates=balance.duplicates,
        missing=balance.missing,
        trade_holes=len(holes),
        open_trades=sum(hole.last - hole.first + 1 for hole in still_open),
        gaps=sum(1 for _ in journal.market_gaps()),
        purged=balance.purged,
        repaired=repaired,
        unjudged_images=unjudged,
        unconfirmed=0 if confirmed is None else ledger.missing_above(confirmed),
        ignored=counted.ignored,
        repeated=counted.repeated + ledger.repeated,
        unreadable=sum(max(gap.frames, 1) for gap in damage if not is_acknowledged(gap, known)),
        acknowledged_gaps=sum(max(gap.frames, 1) for gap in damage if is_acknowledged(gap, known)),
        missing_ids=ledger.missing_ids(_SHOWN),
        holes=tuple(holes[:_SHOWN]),
        holes_note=holes_note,
    )


def _key(letter: DeadLetter) -> str:
    """A frame that never became an event is known by its offset."""
    return letter.event_id or f"frame {letter.offset}"
