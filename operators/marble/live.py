"""A stream that goes by the computer's clock, looked at for a while."""

from __future__ import annotations

from threading import Event, Lock
from typing import Any, TypeVar

from reactivex import Observable

from operators.steady import SteadyScheduler
from operators.testing.run import Recorder, Run
from operators.testing.timeline import Kind, Moment

A = TypeVar("A")


def look_at(observable: Observable[A], seconds: float) -> Run[A]:
    """Subscribe for so many seconds, or until the stream ends, and tell what came.

    The calling thread waits. Whatever happens to it meanwhile, such as the interrupt of a notebook, the subscription
    is disposed.
    """
    scheduler = SteadyScheduler()
    recorder = Recorder("result", "result")
    lock, over = Lock(), Event()
    start = scheduler.now

    def elapsed() -> float:
        return (scheduler.now - start).total_seconds()

    def note(kind: Kind, value: Any = None, error: Exception | None = None) -> None:
        with lock:
            if not over.is_set():
                recorder.moments.append(Moment(elapsed(), kind, value, error))
            if kind != "item":
                over.set()

    end = recorder.begin(0.0)
    try:
        subscription = observable.subscribe(
            lambda item: note("item", item), lambda error: note("error", error=error), lambda: note("completion")
        )
        try:
            over.wait(seconds)
        finally:
            subscription.dispose()
        with lock:
            over.set()
            ended = bool(recorder.moments) and recorder.moments[-1].kind != "item"
            last = recorder.moments[-1].time if ended else elapsed()
            end(last)
            return Run(recorder.lane(), (), (), (), (), last)
    finally:
        scheduler.dispose()
