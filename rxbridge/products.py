"""Which products are subscribed to: what the settings' ids and wildcards mean now, and what changes about it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from time import monotonic
from typing import Protocol, TypeAlias

import msgspec
from loguru import logger
from tenacity import RetryCallState, Retrying, retry_if_exception

from rxbridge.coinbase.catalogue import Catalogue, Resolution, is_wildcard, resolve
from rxbridge.coinbase.in_force import named
from rxbridge.coinbase.stream import backoff
from rxbridge.errors import ConfigError, JournalError, RestFailed, RestRefused, quoted
from rxbridge.journal import Journal
from rxbridge.left_out import LeftOut, some

Changed: TypeAlias = Callable[[Sequence[str], Sequence[str]], None]
"""Is given the products that have come and those that have gone; on the watch's thread."""

_NOTE = "products"
"""The journal's note of the newest list."""

_LOOK_FOR_STOP_SECONDS = 0.25


class Source(Protocol):
    """Where the list of products comes from; `rxbridge.coinbase.rest.RestClient` is one."""

    def products(self) -> Catalogue:
        """All products by id; raises `RestFailed` or `RestRefused`."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Note(msgspec.Struct, frozen=True):
    """What was asked for, and what it meant."""

    asked: tuple[str, ...]
    products: tuple[str, ...]


_decoder = msgspec.json.Decoder(Note)


class ProductWatch:
    """Finds out which products the settings mean, at the start and then again and again, on a thread of its own.

        settle ─► products ─► start ─► check ─► check ─► check ...
                                         │ changed(added, removed)      `ask_for` has it check at once

    What is wrong with a word of the list is told once, and again when the reason changes. The newest list is remembered
    in the journal, so that a start while Coinbase's REST API is down can go on with it. What is done about a change is
    up to `changed`. Other words may be asked for at any time.

    Args:
        asked: Ids, and wildcards such as `*-USD` or `all`.
        source: Coinbase's list. Nobody else may use it.
        journal: Remembers the list.
        stop: Set by its owner when time is up: ends every wait.
        changed: Told of each change of the list, once it is remembered.
        check_seconds: How long between two checks.
        keep_named: Whether ids stay whatever Coinbase's list says; see `resolve`.
        retry_minimum_seconds: The wait after the first failure; it doubles.
        retry_maximum_seconds: The longest.

    Attributes:
        products: The newest list; empty before `settle`.
    """

    def __init__(
        self,
        asked: Sequence[str],
        source: Source,
        journal: Journal,
        *,
        stop: threading.Event,
        changed: Changed,
        check_seconds: float = 3600.0,
        keep_named: bool = False,
        retry_minimum_seconds: float = 1.0,
        retry_maximum_seconds: float = 60.0,
    ) -> None:
        self.products: tuple[str, ...] = ()
        self._asked: tuple[str, ...] = ()
        self._wildcards: list[str] = []
        self._take_words(asked)
        self._new_words: deque[tuple[str, ...]] = deque()
        self._catalogue: Catalogue | None = None
        self._source = source
        self._journal = journal
        self._stop = stop
        self._changed = changed
        self._check_seconds = check_seconds
        self._keep_named = keep_named
        self._wait = backoff(retry_minimum_seconds, max(retry_minimum_seconds, retry_maximum_seconds))
        self._failures = 0
        self._left_out = LeftOut()
        self._thread: threading.Thread | None = None

    def settle(self) -> tuple[str, ...]:
        """Find out what to start with.

        While Coinbase's REST API does not answer, ids are taken as they are: the feed refuses bad ones itself. With a
        wildcard it is the list of the last time, if the same was asked for then; else it waits for an answer.

        Returns:
            The products; none only if `stop` was set while it waited.

        Raises:
            ConfigError: Nothing that trades is left; or a wildcard is asked for at an address that has no such list.
        """
        self.products = self._remembered()
        retrying = Retrying(
            retry=retry_if_exception(self._must_be_waited_for),
            wait=self._wait_after,
            sleep=self._pause,
            before_sleep=self._tell_next_try,
            reraise=True,
        )
        try:
            self._take(retrying(self._ask))
        except (RestFailed, RestRefused) as error:
            self._failures = 1
            self._settle_without(error)
        except _Stopped:
            return ()
        else:
            self._failures = 0
        return self.products

    def start(self) -> None:
        """Begin to check; returns at once."""
        self._thread = threading.Thread(target=self._run, name="rxbridge-products", daemon=True)
        self._thread.start()

    def ask_for(self, asked: Sequence[str]) -> None:
        """Other ids and wildcards from now on; may be called from any thread, and returns at once.

        What they mean is looked up as soon as the watch has started. While Coinbase's REST API does not answer, ids are
        taken as they are, and wildcards mean what the list says that was seen last; if none was, all stays as it is
        until it answers.

        Raises:
            ConfigError: There is none, or an empty one.
        """
        self._new_words.append(named("feed.products", asked))

    def close(self, seconds: float) -> bool:
        """Let go of connections, once it has ended; set `stop` before.

        Returns:
            Whether it has ended in time. If not, it still waits for an answer, and does nothing with it.
        """
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False
        self._source.close()
        return True

    def _ask(self) -> Catalogue:
        """The list; a stop ends the wait for it, whatever the server does."""
        outcome: Future[Catalogue] = Future()

        def ask() -> None:
            try:
                outcome.set_result(self._source.products())
            except Exception as error:  # noqa: BLE001 - a thread has no caller: who waits raises it
                outcome.set_exception(error)

        threading.Thread(target=ask, name="rxbridge-products-start", daemon=True).start()
        while not self._stop.is_set():
            if wait([outcome], _LOOK_FOR_STOP_SECONDS).done:
                return outcome.result()
        raise _Stopped

    def _must_be_waited_for(self, error: BaseException) -> bool:
        return isinstance(error, RestFailed) and bool(self._wildcards) and not self.products

    def _settle_without(self, error: RestFailed | RestRefused) -> None:
        if not self._wildcards:
            self.products = self._asked
            logger.warning("[PRODUCTS] Not validated, and subscribed to as they are: {}", error)
        elif self.products:
            known = f"the {len(self.products)} of the last time"
            logger.warning("[PRODUCTS] What {} means is not known now; going on with {}: {}", self._words, known, error)
        else:
            problem = f"what {self._words} means is not known: {error}"
            raise ConfigError("feed.products", problem, "set backfill.url to Coinbase's REST API, or name the products")

    def _take(self, catalogue: Catalogue) -> None:
        """Begin with what the list says."""
        meant = self._meaning(catalogue)
        meant.require_some(self._asked)
        self.products = meant.products
        self._catalogue = catalogue
        self._left_out.tell(meant)
        if self._wildcards:
            logger.info("[PRODUCTS] {} means {} products: {}", self._words, len(self.products), some(self.products))
        self._remember()

    def _meaning(self, catalogue: Catalogue) -> Resolution:
        return resolve(self._asked, catalogue, held=self.products, keep_named=self._keep_named)

    def _run(self) -> None:
        pause = self._wait(1, Exception()) if self._failures else self._check_seconds
        while not self._stopped_within(pause):
            try:
                pause = self._check()
            except Exception as error:  # noqa: BLE001 - a thread has no caller: told, and checked again
                logger.opt(exception=error).error("[PRODUCTS] A check has failed, will check again: {}", error)
                pause = self._check_seconds

    def _stopped_within(self, seconds: float) -> bool:
        """Wait until the time is over, or other words are asked for; whether it is time to stop."""
        until = monotonic() + seconds
        while not self._new_words and (left := until - monotonic()) > 0:
            if self._stop.wait(min(left, _LOOK_FOR_STOP_SECONDS)):
                return True
        return self._stop.is_set()

    def _take_words(self, asked: Sequence[str]) -> None:
        self._asked = tuple(dict.fromkeys(asked))
        self._wildcards = [word for word in self._asked if is_wildcard(word)]

    def _check(self) -> float:
        """Look once; how long to wait before the next time."""
        anew = bool(self._new_words)
        while self._new_words:
            self._take_words(self._new_words.popleft())
        try:
            catalogue = self._source.products()
        except (RestFailed, RestRefused) as error:
            self._failures += 1
            pause = self._pause_after(error)
            if anew:
                self._change_without(error)
            elif self._failures == 1:
                logger.warning("[PRODUCTS] Cannot be checked now, will try again in {:.1f} s: {}", pause, error)
            return pause
        if self._failures:
            self._failures = 0
            logger.info("[PRODUCTS] Coinbase's REST API answers again")
        self._catalogue = catalogue
        if not self._stop.is_set():
            self._compare(self._meaning(catalogue), anew=anew)
        return self._check_seconds

    def _compare(self, meant: Resolution, *, anew: bool) -> None:
        self._left_out.tell(meant)
        if meant.products:
            self._change(meant.products, anew=anew)
        else:
            logger.warning("[PRODUCTS] Nothing of what is asked for trades now; the list stays as it is")

    def _change(self, products: tuple[str, ...], *, anew: bool) -> None:
        added = [product for product in products if product not in self.products]
        removed = [product for product in self.products if product not in products]
        if added or removed:
            self.products = products
        if added or removed or anew:
            self._remember()
        if added or removed:
            self._changed(added, removed)
        elif anew:
            logger.info("[PRODUCTS] What is asked for now means the same products as before")

    def _change_without(self, error: RestFailed | RestRefused) -> None:
        """Do what can be done about other words while nobody says what they mean."""
        if not self._wildcards:
            logger.warning("[PRODUCTS] Not validated, and subscribed to as they are: {}", error)
            self._change(self._asked, anew=True)
        elif self._catalogue is not None:
            logger.warning("[PRODUCTS] What {} means is taken from the list that was seen last: {}", self._words, error)
            self._compare(self._meaning(self._catalogue), anew=True)
        else:
            logger.warning("[PRODUCTS] What {} means is not known now; the list stays: {}", self._words, error)

    def _remembered(self) -> tuple[str, ...]:
        """What the same list meant last; empty if nobody knows."""
        content = self._journal.recall(_NOTE)
        try:
            note = None if content is None else _decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # Damaged with its file. It is asked for again, and only an outage of REST at this start would miss it.
            note = None
        return note.products if note is not None and note.asked == self._asked else ()

    def _remember(self) -> None:
        try:
            self._journal.remember(_NOTE, msgspec.json.encode(Note(self._asked, self.products)))
        except JournalError as error:
            logger.warning("[PRODUCTS] The list cannot be remembered for the next start: {}", error)

    @property
    def _words(self) -> str:
        return some([quoted(word) for word in self._wildcards])

    def _pause_after(self, error: BaseException | None) -> float:
        if isinstance(error, RestRefused):
            return self._check_seconds
        asked_for = error.retry_after if isinstance(error, RestFailed) else None
        return max(min(self._wait(self._failures, Exception()), self._check_seconds), asked_for or 0.0)

    def _wait_after(self, state: RetryCallState) -> float:
        self._failures = state.attempt_number
        return self._pause_after(state.outcome.exception() if state.outcome else None)

    def _pause(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _tell_next_try(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        seconds = state.upcoming_sleep
        logger.warning(
            "[PRODUCTS] Waiting to learn what {} means, next try in {:.1f} s: {}", self._words, seconds, error
        )


class _Stopped(Exception):
    """A shutdown ends the wait for an answer."""
