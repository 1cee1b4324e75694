"""One run: a load, a contender and a sink, each a process, and what was measured."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.frames import PRODUCT
from benchmarks.processes import Child, ChildFailed
from benchmarks.schedule import due

CONTENDERS = {
    "a": "bare receive loop",
    "b": "hand-written loop",
    "c": "thread and POST per event",
    "d": "rxbridge, SQLite journal",
}

_START_SECONDS = 30
_LOOK_SECONDS = 0.2
_SETTLE_SECONDS = 0.3
_PATIENCE_SECONDS = 20
"""What has not arrived so long after the schedule's end is lost."""


@dataclass(frozen=True)
class Result:
    """What a run showed.

    Attributes:
        contender: Its letter.
        rate: Frames that were due a second; 0 for as fast as they were taken.
        sent: Frames sent.
        delivered: Different events that reached the sink (for the bare loop: frames that it received).
        repeated: Events that reached it again.
        events_per_second: Of those delivered, from the first frame's sending to the last one's receipt.
        cpu_microseconds: User and system time of the contender, per delivered event.
        idle_rss_bytes: Its peak resident memory when it had subscribed.
        peak_rss_bytes: The same at the end.
        latency_p50: Seconds from a frame's scheduled sending to its event's receipt; None without a schedule.
        latency_p99: Likewise.
        latency_max: The longest.
    """

    contender: str
    rate: float
    sent: int
    delivered: int
    repeated: int
    events_per_second: float
    cpu_microseconds: float
    idle_rss_bytes: int
    peak_rss_bytes: int
    latency_p50: float | None
    latency_p99: float | None
    latency_max: float | None

    @property
    def lossless(self) -> bool:
        """Whether every frame's event arrived."""
        return self.delivered == self.sent


class Run:
    """`with Run(...) as run: run.go(); result = run.finish()`.

    Args:
        contender: Its letter.
        count: Frames to send.
        rate: Frames a second; 0 sends as fast as they are taken.
        settle_seconds: How long to wait before and after: what a contender does when the last event has come, such as
            to acknowledge it, belongs to its cost.
        books: For rxbridge: whether it follows order books as well; if so, with how many frames one snapshot of a large
            book leaves, 0 for none.
    """

    def __init__(
        self,
        contender: str,
        count: int,
        rate: float = 0,
        *,
        settle_seconds: float = _SETTLE_SECONDS,
        books: int | None = None,
    ) -> None:
        self._contender = contender
        self._count = count
        self._rate = rate
        self._settle_seconds = settle_seconds
        self._books = books
        self._started_at = 0.0
        self._cpu_before = 0.0
        self._idle_rss = 0

    def __enter__(self) -> Self:
        """Start the three processes, and wait for the subscription."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rxbridge-benchmark-")))
            self._load = stack.enter_context(
                Child("benchmarks.load", str(self._count), str(self._rate), str(self._books or 0))
            )
            feed_url = f"ws://127.0.0.1:{self._load.hear('port')['port']}"
            if self._contender == "a":
                self._child = stack.enter_context(
                    Child("benchmarks.contenders.receive_loop", feed_url, str(self._count))
                )
                self._sink = self._child
            else:
                self._sink = stack.enter_context(Child("benchmarks.sink", str(self._count)))
                sink_url = f"http://127.0.0.1:{self._sink.hear('port')['port']}"
                channels = "ticker" if self._books is None else "ticker,level2"
                self._child = stack.enter_context(_contender(self._contender, feed_url, sink_url, folder, channels))
            self._wait_for_subscription()
            time.sleep(self._settle_seconds)
            self._idle_rss = self._child.peak_rss_bytes()
            self._cpu_before = self._child.cpu_seconds()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        self._stack.close()

    def go(self) -> None:
        """Begin to send."""
        self._load.go()
        self._started_at = self._load.hear("start")["start"]

    def finish(self) -> Result:
        """Wait for the last event, and measure."""
        end = self._started_at + (due(self._count, self._rate) if self._rate else 0) + _PATIENCE_SECONDS
        self._sink.hear_within(max(end - time.monotonic(), 0))
        time.sleep(self._settle_seconds)
        cpu = self._child.cpu_seconds() - self._cpu_before
        peak_rss = self._child.peak_rss_bytes()
        self._sink.go()
        seen = self._sink.hear("numbers")
        if self._contender == "d" and (code := self._child.stop()) != 0:
            raise ChildFailed(f"rxbridge ended with {code}\n{self._child.complaints()}")
        times = dict(zip(seen["numbers"], seen["times"], strict=True))
        started_at, rate = self._started_at, self._rate
        latencies = sorted(t - started_at - due(number, rate) for number, t in times.items()) if rate else []
        return Result(
            contender=self._contender,
            rate=self._rate,
            sent=self._count,
            delivered=len(times),
            repeated=seen["repeated"],
            events_per_second=len(times) / (max(times.values(), default=math.inf) - self._started_at),
            cpu_microseconds=cpu / max(len(times), 1) * 1e6,
            idle_rss_bytes=self._idle_rss,
            peak_rss_bytes=peak_rss,
            latency_p50=percentile(latencies, 0.50),
            latency_p99=percentile(latencies, 0.99),
            latency_max=percentile(latencies, 1.0),
        )

    def _wait_for_subscription(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._load.hear_within(_LOOK_SECONDS) is None:
            if not (self._load.running and self._child.running) or time.monotonic() > deadline:
                complaints = self._load.complaints() + self._child.complaints()
                raise ChildFailed(f"{CONTENDERS[self._contender]} did not subscribe\n{complaints}")


def run(
    contender: str,
    count: int,
    rate: float = 0,
    *,
    settle_seconds: float = _SETTLE_SECONDS,
    books: int | None = None,
) -> Result:
    """A run from start to end; the arguments are those of `Run`."""
    with Run(contender, count, rate, settle_seconds=settle_seconds, books=books) as one:
        one.go()
        return one.finish()


def run_together(
    contenders: Sequence[str], count: int, rate: float, *, settle_seconds: float = _SETTLE_SECONDS
) -> list[Result]:
    """Several at once, for rates so low that they hardly meet; they start apart, so that their frames do not either."""
    with ExitStack() as stack:
        runs = [stack.enter_context(Run(name, count, rate, settle_seconds=settle_seconds)) for name in contenders]
        for one in runs:
            one.go()
            time.sleep(1 / rate / len(runs))
        return [one.finish() for one in runs]


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """The nearest-rank percentile of what is in ascending order; None of nothing."""
    return ordered[math.ceil(part * len(ordered)) - 1] if ordered else None


def _contender(letter: str, feed_url: str, sink_url: str, folder: Path, channels: str) -> Child:
    if letter == "b":
        return Child("benchmarks.contenders.hand_written", feed_url, sink_url)
    if letter == "c":
        return Child("benchmarks.contenders.thread_per_event", feed_url, sink_url)
    return Child(
        "rxbridge",
        *("run", "--products", PRODUCT, "--channels", channels, "--feed-url", feed_url),
        *("--pulsestream-url", sink_url, "--journal", str(folder / "journal")),
        folder=folder,
        # The load takes one connection, which must not be the question for the list of products.
        environment={"PULSESTREAM_API_KEY": "benchmark", "RXBRIDGE_BACKFILL_URL": "http://127.0.0.1:9"},
    )
