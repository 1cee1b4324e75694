"""Carries the questions of errands to REST: one at a time, paced, again and again until there is an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from loguru import logger

from rxbridge.backfill.errands import Ask, Errand
from rxbridge.coinbase.rest import RestTrade
from rxbridge.errors import RestFailed, RestRefused
from rxbridge.telemetry.statistics import BackfillStatistics

_TELL_AGAIN_SECONDS = 30.0


class Rest(Protocol):
    """What answers questions; `rxbridge.coinbase.rest.RestClient` does."""

    timeout_seconds: float

    def trades(self, product: str, *, after: int | None = None, limit: int = ...) -> Sequence[RestTrade]:
        """The newest `limit` trades below `after`, oldest first; raises `RestFailed` or `RestRefused`."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class _Call:
    """One request, on a thread of its own: who waits for it can stop waiting at any time."""

    def __init__(self, rest: Rest, ask: Ask, done: Callable[[], None], overdue_at: float) -> None:
        self.overdue_at = overdue_at
        self.ended = False
        self.trades: Sequence[RestTrade] = ()
        self.error: Exception | None = None
        self._rest = rest
        self._ask = ask
        self._done = done
        threading.Thread(target=self._run, name="rxbridge-rest", daemon=True).start()

    def _run(self) -> None:
        product, after, limit = self._ask
        try:
            self.trades = self._rest.trades(product, after=after, limit=limit)
        except Exception as error:  # noqa: BLE001 - a thread has no caller: who takes the answer raises it
            self.error = error
        self.ended = True
        self._done()


class _Matter:
    """An errand under way, and its question that is open."""

    def __init__(self, product: str, errand: Errand, ask: Ask) -> None:
        self.product = product
        self.errand = errand
        self.ask = ask
        self.failures = 0
        self.not_before = 0.0


class Desk:
    """Runs at most one errand a product, and at most one request at a time.

    A product whose requests fail waits alone; one that is asked to wait by Coinbase makes all of them wait.

    Args:
        rest: Answers.
        requests_per_second: How many are sent at most.
        wait: How many seconds to wait after each failure in a row, counted from 1.
        statistics: Where to count.
        wake: Is set when an answer has come.
        monotonic: Seconds that only rise.
    """

    def __init__(
        self,
        rest: Rest,
        *,
        requests_per_second: float,
        wait: Callable[[int], float],
        statistics: BackfillStatistics,
        wake: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rest = rest
        self._pause = 1 / requests_per_second
        self._wait = wait
        self._statistics = statistics
        self._wake = wake
        self._monotonic = monotonic
        self._matters: dict[str, _Matter] = {}
        self._call: _Call | None = None
        self._asked: _Matter | None = None
        self._next_at = 0.0
        self._tell_at = 0.0
        self._failing = False

    @property
    def waits_for_answer(self) -> bool:
        """Whether a request is under way."""
        return self._call is not None

    def has(self, product: str) -> bool:
        """Whether an errand of this product is under way."""
        return product in self._matters

    def begin(self, product: str, errand: Errand) -> None:
        """Take on an errand."""
        try:
            ask = next(errand)
        except StopIteration:
            return
        self._matters[product] = _Matter(product, errand, ask)

    def clear(self) -> None:
        """Drop all errands, and whatever answer may come."""
        for matter in self._matters.values():
            matter.errand.close()
        self._matters.clear()
        self._call = self._asked = None

    def answer(self) -> bool:
        """Hand over the answer that has come, if one has; whether there was any."""
        call, matter = self._call, self._asked
        if call is None or matter is None:
            return False
        now = self._monotonic()
        if not call.ended:
            if now < call.overdue_at:
                return False
            # It may come some day, and nobody will listen. Connections are not shared with it any more.
            self._rest.close()
            call.error = RestFailed(_place(matter.ask), "it takes too long")
        self._call = self._asked = None
        if isinstance(call.error, RestFailed):
            self._failed(matter, call.error, now)
        elif call.error is None or isinstance(call.error, RestRefused):
            self._hand_over(matter, call.trades, call.error)
        else:
            raise call.error
        return True

    def ask(self) -> None:
        """Send the next question, if there is one and it is time."""
        now = self._monotonic()
        if self._call is not None or now < self._next_at:
            return
        matter = next((matter for matter in self._matters.values() if matter.not_before <= now), None)
        if matter is None:
            return
        # Behind the others, when it is their turn again.
        self._matters[matter.product] = self._matters.pop(matter.product)
        self._next_at = now + self._pause
        self._statistics.requests += 1
        self._asked = matter
        self._call = _Call(self._rest, matter.ask, self._wake.set, now + self._rest.timeout_seconds)

    def seconds_to_next(self) -> float | None:
        """How long until `ask` has something to do; None if there is nothing."""
        times = [matter.not_before for matter in self._matters.values()]
        return max(min(times), self._next_at) - self._monotonic() if times else None

    def _hand_over(self, matter: _Matter, trades: Sequence[RestTrade], refusal: RestRefused | None) -> None:
        if self._failing:
            self._failing, self._tell_at = False, 0.0
            logger.info("[BACKFILL] Coinbase's REST API answers again")
        try:
            matter.ask = matter.errand.throw(refusal) if refusal is not None else matter.errand.send(trades)
        except StopIteration:
            del self._matters[matter.product]
        except RestRefused as error:
            del self._matters[matter.product]
            logger.warning("[BACKFILL] {}", error)
        else:
            matter.failures, matter.not_before = 0, 0.0

    def _failed(self, matter: _Matter, error: RestFailed, now: float) -> None:
        self._statistics.failed_requests += 1
        matter.failures += 1
        seconds = self._wait(matter.failures)
        matter.not_before = now + seconds
        if error.retry_after is not None:
            seconds = max(seconds, error.retry_after)
            self._next_at = max(self._next_at, now + error.retry_after)
        if now >= self._tell_at:
            self._failing, self._tell_at = True, now + _TELL_AGAIN_SECONDS
            logger.warning("[BACKFILL] {}; next try in {:.1f} s", error, seconds)


def _place(ask: Ask) -> str:
    return f"the request for trades of {ask.product}"
