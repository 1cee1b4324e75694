"""All runs, in an order in which what is compared is measured side by side, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.books import BookDelay, book_delay
from benchmarks.per_item import Cost, operators, stages
from benchmarks.runs import CONTENDERS, Result, run, run_together

SLOW, BUSY, FAST, FULL = 20, 1_000, 10_000, 0
"""Frames a second; the last is as fast as they are taken."""

REFERENCE = "b"
MOST_TIMES_THE_LOOP = 3
"""What an operator may cost, in terms of the same logic as a plain loop."""


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        full: Frames at full speed.
        full_receive: The same for the bare loop, which is done sooner.
        full_threads: The same for a thread per event, which takes longer.
        repeats: Of what is compared, side by side; the medians count.
        slow_seconds: How long the run at 20 frames a second lasts.
        busy_seconds: At 1,000.
        fast_seconds: At 10,000.
        book_seconds: With and without snapshots of a large order book.
        items: For the micro level.
        settle_seconds: The pause before and after each run.
    """

    full: int
    full_receive: int
    full_threads: int
    repeats: int
    slow_seconds: float
    busy_seconds: float
    fast_seconds: float
    book_seconds: float
    items: int
    settle_seconds: float


WHOLE = Plan(
    full=30_000,
    full_receive=100_000,
    full_threads=1_000,
    repeats=3,
    slow_seconds=15,
    busy_seconds=3,
    fast_seconds=3,
    book_seconds=4.5,
    items=20_000,
    settle_seconds=0.3,
)
QUICK = Plan(
    full=300,
    full_receive=300,
    full_threads=50,
    repeats=1,
    slow_seconds=0.5,
    busy_seconds=0.1,
    fast_seconds=0.05,
    book_seconds=0.1,
    items=200,
    settle_seconds=0.02,
)


@dataclass(frozen=True)
class Summary:
    """A contender at one rate: the medians of its runs; the sums of what it lost and repeated."""

    contender: str
    rate: int
    runs: int
    sent: int
    lost: int
    repeated: int
    events_per_second: float
    cpu_microseconds: float
    idle_rss_megabytes: float
    peak_rss_megabytes: float
    latency_p50_milliseconds: float | None
    latency_p99_milliseconds: float | None


@dataclass(frozen=True)
class Aim:
    """What rxbridge should reach, and what it reached."""

    text: str
    figure: float
    limit: float
    met: bool


@dataclass(frozen=True)
class Findings:
    """All of it."""

    results: list[Result]
    summaries: dict[tuple[str, int], Summary]
    book_delay: BookDelay
    operators: list[Cost]
    stages: list[Cost]

    def at(self, contender: str, rate: int) -> Summary:
        """A contender at a rate."""
        return self.summaries[contender, rate]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "contenders": CONTENDERS,
            "summaries": [asdict(summary) for summary in self.summaries.values()],
            "book_delay": asdict(self.book_delay),
            "aims": [asdict(aim) for aim in aims(self)],
            "operators": [asdict(cost) for cost in self.operators],
            "stages": [asdict(cost) for cost in self.stages],
            "runs": [asdict(result) for result in self.results],
        }


def measure(plan: Plan, say: Callable[[str], None]) -> Findings:
    """Run everything.

    Args:
        plan: How much.
        say: Is told what is going on.

    Raises:
        ChildFailed: A process did not do its part.
    """
    results: list[Result] = []

    def add(contender: str, count: float, rate: int) -> None:
        say(f"{CONTENDERS[contender]}, {f'{rate:,}/s' if rate else 'full speed'}")
        results.append(run(contender, round(count), rate, settle_seconds=plan.settle_seconds))

    for repeat in range(plan.repeats):
        add("b", plan.full, FULL)
        add("d", plan.full, FULL)
        if repeat < 2:
            add("a", plan.full_receive, FULL)
            add("c", plan.full_threads, FULL)
    say("all four, 20/s")
    results += run_together("abcd", round(plan.slow_seconds * SLOW), SLOW, settle_seconds=plan.settle_seconds)
    for contender in "ac":
        add(contender, plan.busy_seconds * BUSY, BUSY)
    for _ in range(plan.repeats):
        for contender in "bd":
            add(contender, plan.busy_seconds * BUSY, BUSY)
    for _ in range(min(plan.repeats, 2)):
        for contender in "bd":
            add(contender, plan.fast_seconds * FAST, FAST)
    say("rxbridge with and without snapshots of a large order book")
    delay = book_delay(plan.book_seconds, plan.repeats, settle_seconds=plan.settle_seconds)
    say("operators and stages")
    return Findings(results, _summaries(results), delay, operators(plan.items), stages(plan.items))


def aims(findings: Findings) -> list[Aim]:
    """The aims for rxbridge, beside what it reached."""
    full, slow, busy, fast = (findings.at("d", rate) for rate in (FULL, SLOW, BUSY, FAST))
    reference, threads = findings.at(REFERENCE, FULL), findings.at("c", FULL)
    return [
        _at_least("events/s, times those of (b)", full.events_per_second / reference.events_per_second, 1),
        _at_least("events/s, times those of (c)", full.events_per_second / threads.events_per_second, 40),
        *(
            _at_most(f"{name} latency at {rate:,}/s, times that of (b)", ratio, 2)
            for rate, own in ((SLOW, slow), (BUSY, busy))
            for name, ratio in _latency_ratios(own, findings.at(REFERENCE, rate))
        ),
        _at_most("peak RSS at 20/s, MB", slow.peak_rss_megabytes, 60),
        _at_most("peak RSS at full load, MB", full.peak_rss_megabytes, 100),
        _at_most("longest delay of a trade by a snapshot of 5 MB, ms", findings.book_delay.added_milliseconds, 250),
        _at_most("CPU per event at 10,000/s, times that at 1,000/s", fast.cpu_microseconds / busy.cpu_microseconds, 1),
        _at_most(
            "the operator that costs most, times its plain loop",
            max(cost.times_the_loop or 0 for cost in findings.operators),
            MOST_TIMES_THE_LOOP,
        ),
    ]


def _latency_ratios(own: Summary, other: Summary) -> list[tuple[str, float]]:
    pairs = [
        ("p50", own.latency_p50_milliseconds, other.latency_p50_milliseconds),
        ("p99", own.latency_p99_milliseconds, other.latency_p99_milliseconds),
    ]
    return [(name, mine / theirs) for name, mine, theirs in pairs if mine is not None and theirs is not None]


def _at_least(text: str, figure: float, limit: float) -> Aim:
    return Aim(f"{text}: at least {limit:g}", figure, limit, figure >= limit)


def _at_most(text: str, figure: float, limit: float) -> Aim:
    return Aim(f"{text}: at most {limit:g}", figure, limit, figure <= limit)


def _summaries(results: Sequence[Result]) -> dict[tuple[str, int], Summary]:
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.contender, int(result.rate)), []).append(result)
    return {key: _summary(group) for key, group in sorted(groups.items())}


def _summary(group: Sequence[Result]) -> Summary:
    return Summary(
        contender=group[0].contender,
        rate=int(group[0].rate),
        runs=len(group),
        sent=sum(result.sent for result in group),
        lost=sum(result.sent - result.delivered for result in group),
        repeated=sum(result.repeated for result in group),
        events_per_second=median(result.events_per_second for result in group),
        cpu_microseconds=median(result.cpu_microseconds for result in group),
        idle_rss_megabytes=median(result.idle_rss_bytes for result in group) / 1e6,
        peak_rss_megabytes=median(result.peak_rss_bytes for result in group) / 1e6,
        latency_p50_milliseconds=_milliseconds([result.latency_p50 for result in group]),
        latency_p99_milliseconds=_milliseconds([result.latency_p99 for result in group]),
    )


def _milliseconds(seconds: Sequence[float | None]) -> float | None:
    known = [value for value in seconds if value is not None]
    return median(known) * 1e3 if known else None
