"""Confirmation: PulseStream says 200 before it commits, so what it confirmed is looked for later, in the background.

    delivery       ───────── acknowledged ──────────────────────────────►│
    confirmation   ── proven ──►│  sent again, ripe  │  some seconds old  │

It is one more consumer of the journal, whose cursor trails the delivery's. So the journal keeps what is not proven yet,
and a restart goes on where the last run came to. Nothing is posted here that the delivery has not acknowledged: no two
requests with the same event are ever under way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from loguru import logger
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential

from rxbridge.confirmation.note import CONSUMER, STATE_CONSUMER, Mode, Note, read_note, write_note
from rxbridge.confirmation.proving import Prover
from rxbridge.confirmation.trail import Trail
from rxbridge.custom_pipelines import BUILTIN_ONLY, Pipelines, rebuild_from, record_pipelines, release
from rxbridge.errors import JournalError
from rxbridge.events import EventRules
from rxbridge.journal import DeadLetter, Journal
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.rule_history import record_rules
from rxbridge.telemetry.statistics import ConfirmationStatistics


class Confirmation:
    """Proves that what was delivered is stored, and sends again what is not.

    In the mode `all` every event is posted once more, which PulseStream answers as a repeat, at no cost of the rate
    limit. In the mode `sample` it is one of twenty, and the last one of each stretch of the journal; where one of them
    is missing, its whole stretch and the next are looked for, event by event. So a loss of twenty events in a row, such
    as that of a whole batch, is never overlooked.

    What was delivered before the confirmation was first switched on for a journal is not looked for; `rxbridge verify`
    does that.

    Args:
        journal: Where the frames are.
        client: Where to look; of the confirmation's own, as it takes one request at a time.
        mode: As above.
        channels: Whose messages become events, as in the delivery.
        rules: How messages become events, as in the delivery.
        statistics: Where to count.
        after_seconds: How long after its acknowledgement an event is looked for.
        request_events: Events in a request.
        request_bytes: Bytes of events in a request.
        wait_after_timeout_seconds: The pause after a request that was not answered in time, or that a crash cut off.
        clock: Seconds that only rise.
        pipelines: What turns frames into events, as in the delivery.

    Attributes:
        failure: What ended it for good; else None.
    """

    def __init__(
        self,
        journal: Journal,
        client: PulseStreamClient,
        *,
        mode: Mode,
        channels: Sequence[str],
        rules: EventRules,
        statistics: ConfirmationStatistics,
        after_seconds: float = 5.0,
        request_events: int = 100,
        request_bytes: int = 1_000_000,
        wait_after_timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        pipelines: Pipelines = BUILTIN_ONLY,
    ) -> None:
        self.failure: BaseException | None = None
        self._journal = journal
        self._mode: Mode = mode
        self._channels = channels
        self._rules = rules
        self._statistics = statistics
        self._after_seconds = after_seconds
        self._wait_after_timeout_seconds = wait_after_timeout_seconds
        self._clock = clock
        self._pipelines = pipelines
        self._finish = threading.Event()
        self._stop = threading.Event()
        self._give_up_at = float("inf")
        # Until the thread has ended by itself, with every request answered, the next start must wait.
        self._was_busy = True
        self._is_busy = True
        self._thread = threading.Thread(target=self._run, name="confirmation", daemon=True)
        self._prover = Prover(
            client,
            refused=self._refused,
            stop=self._stop,
            statistics=statistics.posts,
            request_events=request_events,
            request_bytes=request_bytes,
            wait_after_timeout_seconds=wait_after_timeout_seconds,
        )

    def start(self) -> None:
        """Make itself known to the journal, and begin on a thread of its own. Call it before the delivery starts.

        Raises:
            JournalError: The journal cannot be written.
        """
        note = read_note(self._journal)
        self._was_busy = note.busy
        write_note(self._journal, Note(self._mode, busy=True))
        begin = self._journal.cursor(DELIVERY) if note.mode == "none" else self._journal.cursor(CONSUMER)
        self._journal.acknowledge(CONSUMER, begin)
        # As the delivery will, but before the first trail asks by what its frames are delivered.
        record_rules(self._journal, self._rules, self._journal.cursor(DELIVERY))
        record_pipelines(self._journal, self._pipelines.names, self._journal.cursor(DELIVERY))
        if self._pipelines.custom:
            # Before the delivery lets go of frames that this one still needs.
            rebuild_from(self._journal, STATE_CONSUMER, begin)
        else:
            release(self._journal, STATE_CONSUMER)
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Prove what can be within the time, then stop. The delivery should have ended before.

        Three quarters of the time are for that, the last one is for a request that is under way.

        Returns:
            Whether all that was delivered is proven. What is not is looked for after the next start.
        """
        self._give_up_at = self._clock() + seconds * 3 / 4
        self._finish.set()
        if self._thread.is_alive():
            self._thread.join(seconds * 3 / 4)
            self._stop.set()
            self._thread.join(seconds / 4)
        try:
            if not self._thread.is_alive() and not self._is_busy:
                write_note(self._journal, Note(self._mode))
        except JournalError as error:
            logger.warning("[JOURNAL] {}; the next start waits before it looks for what was sent again", error)
        return self.caught_up()

    @property
    def ended(self) -> bool:
        """Whether it is over without having been stopped."""
        return self.failure is not None

    def caught_up(self) -> bool:
        """Whether all that was delivered is proven."""
        return self._journal.cursor(CONSUMER) >= self._journal.cursor(DELIVERY)

    def _run(self) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_random_exponential(multiplier=1, max=30),
            sleep=self._pause,
            stop=stop_when_event_set(self._stop),
            before_sleep=_say_why,
            retry_error_callback=_end_quietly,
        )
        try:
            retrying(self._confirm)
        except BaseException as error:  # noqa: BLE001 - a thread that dies without a word would look well
            logger.opt(exception=error).error("[FATAL] The confirmation has ended: {}", error)
            self.failure = error

    def _confirm(self) -> None:
        """From the cursor on, until it is to stop."""
        patience = self._wait_after_timeout_seconds if self._was_busy else 0.0
        trail = Trail(
            self._journal,
            self._prover,
            mode=self._mode,
            channels=self._channels,
            rules=self._rules,
            after_seconds=self._after_seconds,
            first_seconds=max(self._after_seconds, patience),
            statistics=self._statistics,
            clock=self._clock,
            pipelines=self._pipelines,
        )
        while not self._stop.is_set():
            seconds = trail.step()
            if seconds is None:
                continue
            if self._finish.is_set() and self._clock() + seconds > self._give_up_at:
                break
            self._pause(min(seconds, trail.look_seconds))
        self._is_busy = trail.left

    def _refused(self, letter: DeadLetter) -> None:
        self._journal.add_dead_letters([letter])

    def _pause(self, seconds: float) -> None:
        # The first of the two only ends the pause; what follows from it shows in the next step.
        (self._stop if self._finish.is_set() else self._finish).wait(seconds)


def _say_why(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    # A journal that cannot be used now, such as on a full disk, says all there is to say; else it is a defect of ours.
    logger.opt(exception=None if isinstance(error, JournalError) else error).error(
        "[RESTARTING] The confirmation stopped and starts again from the journal in {:.1f} s: {}",
        state.upcoming_sleep,
        error,
    )


def _end_quietly(state: RetryCallState) -> None:
    """It was to stop; what it met meanwhile, such as a journal that was closed, concerns nobody."""
    del state
