"""The work of the confirmation: from its cursor on, a stretch of the journal at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from loguru import logger

from rxbridge.books import CHANNEL, Books, resumed
from rxbridge.channel_history import FollowedChannels
from rxbridge.confirmation.note import CONSUMER, STATE_CONSUMER, Mode
from rxbridge.confirmation.proving import Posted, Prover
from rxbridge.confirmation.reading import EventMaker, read_frames, without_proof
from rxbridge.confirmation.resent import Resent
from rxbridge.confirmation.ripening import Ripening
from rxbridge.custom_pipelines import (
    BUILTIN,
    BUILTIN_ONLY,
    WARM_UP_FRAMES,
    Holdings,
    Pipelines,
    Run,
    has_lost_state,
    read_checkpoints,
    read_history,
    read_withheld,
    rebuild_from,
)
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import Journal
from rxbridge.pipeline import ids
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.rule_history import rules_as_delivered
from rxbridge.telemetry.statistics import ConfirmationStatistics

SAMPLE = 20
"""Of so many events in a row, one is looked for by the mode `sample`."""

STRETCH_EVENTS = 1_000
"""Events that are looked for before the cursor moves on."""

_STRETCH_BYTES = 8 * 2**20
_STRETCH_FRAMES = 10_000


class Trail:
    """What is in hand between the confirmation's cursor and the delivery's. Made anew, it finds the same again.

    Args:
        journal: Where the frames are.
        prover: Posts events once more.
        mode: `sample` or `all`; see `Confirmation`.
        channels: Whose messages become events, where the journal does not say for which channels its frames came.
        rules: How messages become events, as in the delivery.
        after_seconds: How long after its acknowledgement, or after it was sent again, an event is looked for.
        first_seconds: How long it takes for what was acknowledged before.
        statistics: Where to count.
        clock: Seconds that only rise.
        pipelines: What turns frames into events, as in the delivery.
    """

    def __init__(
        self,
        journal: Journal,
        prover: Prover,
        *,
        mode: Mode,
        channels: Sequence[str],
        rules: EventRules,
        after_seconds: float,
        first_seconds: float,
        statistics: ConfirmationStatistics,
        clock: Callable[[], float],
        pipelines: Pipelines = BUILTIN_ONLY,
    ) -> None:
        self._journal = journal
        self._prover = prover
        self._mode: Mode = mode
        self._after_seconds = after_seconds
        self._statistics = statistics
        self._clock = clock
        self._channels = channels
        self._rules = rules
        self._pipelines = pipelines
        self._ripening = Ripening(after_seconds, clock, first_seconds=first_seconds)
        self._resent = Resent()
        self._left = False
        self._suspicious = False
        self._position = journal.cursor(CONSUMER)
        self._holdings: Holdings | None = None
        self._released = 0
        self._withheld: dict[tuple[str, int], str] = {}
        self._begin = 0
        self._judged_after = 0.0
        self._pass_over()
        self._make = self._maker()

    def _maker(self) -> EventMaker:
        """What makes the events of the frames behind the position, as the delivery did."""
        journal = self._journal
        run = self._run()
        held = rules_as_delivered(journal, self._rules)
        before = read_frames(journal, max(self._position - WARM_UP_FRAMES, 0), self._position)
        # Another process may feed the journal, and begin to ask for other channels.
        asked = FollowedChannels(journal, self._channels)
        has_books = asked.has_asked(CHANNEL, after=self._position)
        make = EventMaker(
            channels=asked,
            rules=held,
            seen=ids(before, asked),
            kept_books=resumed(held, journal, self._position, once_more=True) if has_books else Books(held),
            run=run,
        )
        for frame in read_frames(journal, self._begin, self._position):
            make(frame)
        return make

    def step(self) -> float | None:
        """Do what can be done now: a stretch, or a look for what was sent again.

        Returns:
            None if something was done; else after how many seconds there may be something to do, infinity if nothing
            that is known of will ever be.
        """
        ripe = self._ripening.look(self._journal.cursor(DELIVERY))
        if again := self._resent.take(self._clock()):
            self._account(self._prover.post(again), again=True)
        elif ripe > self._position and not self._resent.is_full:
            self._next_stretch(ripe)
        else:
            times = [at for at in (self._ripening.next_at(), self._resent.next_at()) if at is not None]
            return max(min(times, default=float("inf")) - self._clock(), 0.0)
        self._acknowledge()
        return None

    @property
    def look_seconds(self) -> float:
        """How often to take a step although nothing is known to be due."""
        return self._ripening.step_seconds

    @property
    def left(self) -> bool:
        """Whether a shutdown left a request of which nothing is known; no further steps should be taken then."""
        return self._left

    def _run(self) -> Run:
        """How to read, from `_begin` on, so that users' pipelines have the state that they had at the position."""
        self._begin = self._position
        if not self._pipelines.custom:
            return Run(self._pipelines)
        begin = self._begin = rebuild_from(self._journal, STATE_CONSUMER, self._position)
        self._judged_after = inf if has_lost_state(self._journal, STATE_CONSUMER, self._position) else 0
        self._holdings = Holdings(begin)
        self._withheld = read_withheld(self._journal, begin)
        history = read_history(self._journal)

        def counts(name: str, offset: int) -> bool:
            return (name == BUILTIN or offset > self._judged_after) and history.counts(name, offset)

        return Run(self._pipelines, self._position, counts, self._withheld, self._holdings)

    def _pass_over(self) -> bool:
        """Move on behind frames that a full journal has let go; whether there were any."""
        gone = self._journal.size().kept_after
        if gone <= self._position:
            return False
        last = min(gone, self._journal.cursor(DELIVERY))
        if last > self._position:
            logger.warning(
                "[LET GO] What PulseStream has lost of the frames {} to {} is not noticed: the journal was full, and "
                "has them no more. Raise journal.max_bytes, or lower delivery.confirm_after_seconds",
                self._position + 1,
                last,
            )
        self._position = gone
        return True

    def _next_stretch(self, ripe: int) -> None:
        """Look for the events of the next frames, and move on behind them."""
        if self._pass_over():
            # Books and pipelines have missed what is gone: as after a restart, they go by what is kept.
            self._make = self._maker()
            if ripe <= self._position:
                return
        events, end = self._read_stretch(ripe)
        everything = self._mode == "all" or self._suspicious
        chosen = events if everything else [*events[SAMPLE - 1 : -1 : SAMPLE], *events[-1:]]
        missing = self._account(self._prover.post(chosen))
        if missing and not everything:
            looked_for = {event.event_id for event in chosen}
            others = [event for event in events if event.event_id not in looked_for]
            missing += self._account(self._prover.post(others))
        elif not self._left:
            self._statistics.vouched += len(events) - len(chosen)
        # What was lost together may reach into the next stretch, but not into the one before, whose last is proven.
        self._suspicious = missing > 0
        self._position = end

    def _read_stretch(self, ripe: int) -> tuple[list[EncodedEvent], int]:
        """The events that must be stored, of some frames up to a ripe offset; and the offset that is reached."""
        made: list[EncodedEvent] = []
        size, end = 0, ripe
        if self._holdings is not None:
            # Their dead letters were written before the frames were acknowledged.
            self._withheld.update(read_withheld(self._journal, self._position))
        if self._judged_after == inf:
            # From here on the state depends on nothing that is gone.
            judged = (known.settled for known in read_checkpoints(self._journal) if known.released >= self._begin)
            self._judged_after = next(judged, inf)
        reached = self._position
        for number, frame in enumerate(read_frames(self._journal, self._position, ripe), 1):
            if frame.offset > reached + 1 and self._journal.size().kept_after > reached:
                break
            reached = frame.offset
            for event in self._make(frame):
                made.append(event)
                size += len(event.body)
            if len(made) >= STRETCH_EVENTS or size >= _STRETCH_BYTES or number >= _STRETCH_FRAMES:
                end = frame.offset
                break
        if end > reached and self._journal.size().kept_after > reached:
            # The others went while these were read: the next stretch passes them over.
            end = reached
        excused = without_proof(self._journal, self._position, end)
        return [event for event in made if event not in excused], end

    def _account(self, posted: Posted, *, again: bool = False) -> int:
        """Count what became of events; how many of them were not stored."""
        counts = self._statistics
        missing = len(posted.sent) + len(posted.refused)
        counts.confirmed += len(posted.proven)
        counts.missing += 0 if again else missing
        counts.resent += len(posted.sent)
        counts.refused += len(posted.refused)
        self._resent.add(posted.sent, self._clock() + self._after_seconds)
        self._left = self._left or bool(posted.left)
        if posted.sent:
            what = "sent again, were lost again" if again else "that PulseStream had confirmed were not stored"
            logger.warning("[MISSING] {} events {}; sent again, until they are proven", len(posted.sent), what)
        elif again and not self._resent and not self._left:
            logger.info("[CONFIRMED] What was missing is stored now: {} events so far", counts.missing - counts.refused)
        return missing

    def _acknowledge(self) -> None:
        if self._left:
            return
        first = self._resent.first_offset()
        proven = self._position if first is None else first - 1
        if proven > self._journal.cursor(CONSUMER):
            self._journal.acknowledge(CONSUMER, proven)
        if self._holdings is not None and (released := self._holdings.up_to(proven)) > self._released:
            self._journal.acknowledge(STATE_CONSUMER, released)
            self._released = released
        self._statistics.unproven = len(self._resent)
        self._statistics.behind_frames = max(self._journal.cursor(DELIVERY) - proven, 0)
