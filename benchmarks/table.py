"""What was found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.books import BookDelay
from benchmarks.per_item import Cost
from benchmarks.runs import CONTENDERS
from benchmarks.suite import BUSY, FAST, FULL, MOST_TIMES_THE_LOOP, REFERENCE, SLOW, Findings, Summary, aims

_COLUMNS: list[tuple[str, int, Callable[[Summary], float | None]]] = [
    ("events/s", FULL, lambda summary: summary.events_per_second),
    ("CPU µs/event", FULL, lambda summary: summary.cpu_microseconds),
    ("peak RSS MB", FULL, lambda summary: summary.peak_rss_megabytes),
    ("p50 ms 20/s", SLOW, lambda summary: summary.latency_p50_milliseconds),
    ("p99 ms 20/s", SLOW, lambda summary: summary.latency_p99_milliseconds),
    ("p50 ms 1,000/s", BUSY, lambda summary: summary.latency_p50_milliseconds),
    ("p99 ms 1,000/s", BUSY, lambda summary: summary.latency_p99_milliseconds),
]


def render(findings: Findings) -> str:
    """The table, and the lines below it."""
    return "\n\n".join(
        [
            "\n".join(_main(findings)),
            "\n".join(_by_load(findings)),
            "\n".join(_books(findings.book_delay)),
            "\n".join(_aims(findings)),
            "\n".join(_costs(findings)),
        ]
    )


def _main(findings: Findings) -> list[str]:
    rows = [["", *(title for title, _, _ in _COLUMNS)]]
    for contender, name in CONTENDERS.items():
        values = [_value(findings, contender, column) for column in range(len(_COLUMNS))]
        rows.append([f"({contender}) {name}", *map(_number, values)])
        if contender != REFERENCE:
            ratios = [
                "-" if own is None or other is None else f"{_number(own / other)}x"
                for own, other in zip(values, _reference(findings), strict=True)
            ]
            rows.append([f"    over ({REFERENCE})", *ratios])
    lost = [
        f"({summary.contender}) lost {summary.lost:,} of {summary.sent:,} at {_rate(summary.rate)}"
        for summary in findings.summaries.values()
        if summary.lost
    ]
    return [*_aligned(rows), *(lost or ["Nothing was lost in any run."])]


def _reference(findings: Findings) -> list[float | None]:
    return [_value(findings, REFERENCE, column) for column in range(len(_COLUMNS))]


def _value(findings: Findings, contender: str, column: int) -> float | None:
    _, rate, read = _COLUMNS[column]
    return read(findings.at(contender, rate))


def _by_load(findings: Findings) -> list[str]:
    rows = [["by load", "events/s", "CPU µs/event", "peak RSS MB"]]
    for contender in (REFERENCE, "d"):
        idle = findings.at(contender, SLOW).idle_rss_megabytes
        rows.append([f"({contender}) idle", "", "", _number(idle)])
        for rate in (SLOW, BUSY, FAST, FULL):
            summary = findings.at(contender, rate)
            rows.append(
                [
                    f"({contender}) {_rate(rate)}",
                    _number(summary.events_per_second),
                    _number(summary.cpu_microseconds),
                    _number(summary.peak_rss_megabytes),
                ]
            )
    return _aligned(rows)


def _books(delay: BookDelay) -> list[str]:
    rows = [["(d) with snapshots of 5 MB", "p50 ms", "p99 ms", "longest ms", "peak RSS MB"]]
    without, along = delay.without, delay.along
    rows.append(["without", *map(_number, without)])
    rows.append(["with", *map(_number, along)])
    rows.append(["    over without", *(f"{_number(own / other)}x" for own, other in zip(along, without, strict=True))])
    rows.append(["    difference", *(_number(own - other) for own, other in zip(along, without, strict=True))])
    return _aligned(rows)


def _aims(findings: Findings) -> list[str]:
    rows = [["aims of (d)", "reached", ""]]
    rows += [[aim.text, f"{aim.figure:.2f}", "met" if aim.met else "missed"] for aim in aims(findings)]
    return _aligned(rows)


def _costs(findings: Findings) -> list[str]:
    return [
        *_aligned([["CPU µs an item", "operator", "plain loop", "times"], *map(_cost, findings.operators)]),
        *_above(findings.operators),
        "",
        *_aligned([["CPU µs a frame", "stage"], *(_cost(cost)[:2] for cost in findings.stages)]),
    ]


def _above(costs: Sequence[Cost]) -> list[str]:
    """The operators that miss their aim, by name."""
    above = [
        f"{cost.name} {cost.times_the_loop:.1f}"
        for cost in costs
        if cost.times_the_loop is not None and cost.times_the_loop > MOST_TIMES_THE_LOOP
    ]
    return [f"Above {MOST_TIMES_THE_LOOP} times the plain loop: {', '.join(above) or 'none'}"]


def _cost(cost: Cost) -> list[str]:
    loop, times = cost.plain_loop, cost.times_the_loop
    return [
        cost.name,
        f"{cost.microseconds:.2f}",
        "" if loop is None else f"{loop:.2f}",
        "" if times is None else f"{times:.1f}",
    ]


def _rate(rate: int) -> str:
    return f"{rate:,}/s" if rate else "full speed"


def _number(value: float | None) -> str:
    """Three digits, or as many as stand before the point."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right, a rule below the first row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "─" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]
