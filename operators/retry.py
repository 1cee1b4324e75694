"""Resubscription after an error, with a delay that the caller chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar, overload

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler

from operators._alarm import Alarm

A = TypeVar("A")


def _always(_error: Exception) -> bool:
    return True


@overload
def retry_with_backoff(
    delay: Callable[[int, Exception], float],
    *,
    retryable: Callable[[Exception], bool] = ...,
    on_retry: Callable[[Exception, int, float], None] | None = ...,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[A]]: ...
@overload
def retry_with_backoff(
    delay: Callable[[int, Exception], float],
    *,
    retryable: Callable[[Exception], bool] = ...,
    good: Callable[[A], bool],
    on_retry: Callable[[Exception, int, float], None] | None = ...,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[A]]: ...
def retry_with_backoff(
    delay: Callable[[int, Exception], float],
    *,
    retryable: Callable[[Exception], bool] = _always,
    good: Callable[[A], bool] | None = None,
    on_retry: Callable[[Exception, int, float], None] | None = None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[A]]:
    """Subscribe to the source anew after a retryable error, and after a delay; for ever.

        source  a-X   b--X   c-d-|    three subscriptions
                    retry_with_backoff(delay), where delay(...) is 3 ticks
        result  a-----b------c-d-|

    The attempts are counted from 1, and start over only after a `good` item: a source that greets and then fails is
    no success. The failed subscription is disposed before the wait begins, and the next begins when the wait is over,
    so there is never more than one. Any number of attempts takes the stack and the memory of one.

    A subscriber that raises ends the stream with that exception in its own `on_error`; it is no reason to ask the
    source again.

    Laws:
        The result is what the subscriptions emitted, one after the other, without their retryable errors.
        Completion passes, and so does the first error that is not retryable.
        Attempt n, counted since the last good item, starts `delay(n, error)` seconds after its error.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> clock = VirtualTimeScheduler()
        >>> refused, reset = reactivex.throw(OSError("refused")), reactivex.throw(OSError("reset"))
        >>> answers = iter([refused, reset, reactivex.of("hello")])
        >>> def told(error: Exception, attempt: int, seconds: float) -> None:
        ...     print(f"{error}: attempt {attempt} in {seconds:g} s")
        >>> _ = reactivex.defer(lambda _: next(answers)).pipe(
        ...     retry_with_backoff(lambda attempt, error: 0.25 * 2**attempt, on_retry=told, scheduler=clock),
        ... ).subscribe(print)
        refused: attempt 1 in 0.5 s
        >>> clock.start()
        reset: attempt 2 in 1 s
        hello

    Args:
        delay: Seconds to wait before attempt number `n`, given `n` and the error; 0 or less is no wait.
        retryable: Whether an error is worth another attempt.
        good: Whether an item shows that the source works; if not given, any does. Asked only while the count is not 0.
        on_retry: Told of the error, the number of the coming attempt, and the seconds until then.
        scheduler: Keeps the time. Its thread subscribes to the source again.

    What any of the four functions raises is the stream's error.
    """
    policy = _Policy(delay, retryable, good, on_retry)

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], subscribe_scheduler: SchedulerBase | None = None) -> DisposableBase:
            retrying = _Retrying(source, observer, policy, scheduler, subscribe_scheduler)
            retrying.connect()
            return retrying

        return Observable(subscribe)

    return operator


@dataclass(frozen=True, slots=True)
class _Policy(Generic[A]):
    delay: Callable[[int, Exception], float]
    retryable: Callable[[Exception], bool]
    good: Callable[[A], bool] | None
    on_retry: Callable[[Exception, int, float], None] | None


class _Subscription(SingleAssignmentDisposable):
    """One subscription of the source. It is over when it has failed and the call that made it has returned."""

    def __init__(self) -> None:
        super().__init__()
        self._failed: Exception | None = None
        self._returned = False

    def failed(self, error: Exception) -> bool:
        """Note the failure; whether the subscription is over by it."""
        with self.lock:
            self._failed = error
            return self._returned

    def returned(self) -> Exception | None:
        """Note the return; the error, if the subscription is over by it."""
        with self.lock:
            self._returned = True
            return self._failed


class _Retrying(DisposableBase, Generic[A]):
    def __init__(
        self,
        source: Observable[A],
        observer: ObserverBase[A],
        policy: _Policy[A],
        scheduler: SchedulerBase,
        subscribe_scheduler: SchedulerBase | None,
    ) -> None:
        self._source = source
        self._observer = observer
        self._emit = observer.on_next
        self._policy = policy
        self._subscribe_scheduler = subscribe_scheduler
        self._attempt = 0
        self._stopped = False
        self._current = SerialDisposable()
        self._alarm = Alarm(scheduler, self._on_alarm, self._fail)

    def connect(self, _scheduler: SchedulerBase | None = None, _state: object = None) -> None:
        """Subscribe to the source; to be called within a trampoline of the current thread."""
        if self._stopped:
            return
        subscription = _Subscription()
        self._current.disposable = subscription
        subscription.disposable = self._source.subscribe(
            self._on_next,
            partial(self._on_error, subscription),
            self._on_completed,
            scheduler=self._subscribe_scheduler,
        )
        # A source may fail before its subscription can be disposed. Then the wait begins here, not in `_on_error`.
        error = subscription.returned()
        if error is not None:
            self._wait(error)

    def dispose(self) -> None:
        self._stopped = True
        self._alarm.dispose()
        self._current.dispose()

    def _on_next(self, item: A) -> None:
        try:
            if self._attempt and (self._policy.good is None or self._policy.good(item)):
                self._attempt = 0
            self._emit(item)
        except Exception as error:  # noqa: BLE001 what a user's function or the subscriber raises is not the source's
            self._fail(error)

    def _on_error(self, subscription: _Subscription, error: Exception) -> None:
        if subscription.failed(error):
            subscription.dispose()
            self._wait(error)

    def _on_completed(self) -> None:
        self.dispose()
        self._observer.on_completed()

    def _wait(self, error: Exception) -> None:
        if self._stopped:
            return
        try:
            wait = self._next_wait(error)
        except Exception as unexpected:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self._fail(unexpected)
            return
        if wait is None:
            self._fail(error)
        else:
            self._alarm.set(wait)

    def _next_wait(self, error: Exception) -> timedelta | None:
        policy = self._policy
        if not policy.retryable(error):
            return None
        self._attempt += 1
        seconds = policy.delay(self._attempt, error)
        wait = timedelta(seconds=seconds)
        if policy.on_retry is not None:
            policy.on_retry(error, self._attempt, seconds)
        return wait

    def _on_alarm(self) -> None:
        # In a trampoline, `subscribe` returns before a source that emits on the current thread begins: only so can it
        # be disposed while it runs, and only so does the stack not grow when the scheduler rings at once.
        CurrentThreadScheduler.singleton().schedule(self.connect)

    def _fail(self, error: Exception) -> None:
        self.dispose()
        self._observer.on_error(error)
