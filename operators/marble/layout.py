"""Where everything stands in a picture: time to the right, lanes downwards, and no label over another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor, log10
from typing import Any

from operators.marble.faces import CHARACTER, Face, Faces, visible
from operators.testing.run import Lane, Run
from operators.testing.timeline import Moment

ROW = 35.0
"""From one row of beads to the next above it, in pixels."""

MOST_ROWS = 5
"""A lane that would need more has its items drawn as dots."""

LINE = 19.0
"""Height of a line of the operators' text, in pixels."""

_GAP = 5.0
_NARROWEST, _WIDEST = 560.0, 860.0
_TICK_DISTANCE = 56.0
_ERROR_CHARACTERS = 30
_LONG = 60.0
"""From so many seconds on, ticks are at whole minutes or hours."""


@dataclass(frozen=True)
class Placed:
    """An item in its place; `row` counts upwards from the line."""

    x: float
    row: int
    face: Face
    time: float


@dataclass(frozen=True)
class End:
    """How a lane ended: by an error if there is a text, which is drawn if there is room before what comes next."""

    x: float
    time: float
    error: str | None = None
    room: bool = True


@dataclass(frozen=True)
class Span:
    """A stretch of time in which a lane was subscribed to."""

    left: float
    right: float
    open: bool
    disposed: bool
    end: float | None


@dataclass(frozen=True)
class PlacedLane:
    """A lane, its line at the height `y`."""

    lane: Lane[Any]
    y: float
    beads: tuple[Placed, ...]
    ends: tuple[End, ...]
    spans: tuple[Span, ...]
    dense: bool


@dataclass(frozen=True)
class Layout:
    """A whole picture, in pixels."""

    width: float
    height: float
    left: float
    right: float
    start: float
    lanes: tuple[PlacedLane, ...]
    box: tuple[float, float]
    call: tuple[str, ...]
    axis: float
    ticks: tuple[tuple[float, str], ...]


@dataclass
class _Scale:
    """Pixels of a time."""

    left: float
    pixels: float
    first: float

    def x(self, time: float) -> float:
        return self.left + (time - self.first) * self.pixels


@dataclass
class _Items:
    """A lane's items with their faces, and its ends."""

    lane: Lane[Any]
    faces: list[tuple[float, Face]] = field(default_factory=list[tuple[float, Face]])
    ends: list[Moment[Any]] = field(default_factory=list[Moment[Any]])


def lay_out(run: Run[Any], call: str, faces: Faces) -> Layout:
    """Find the place of everything."""
    lanes = [_items(lane, faces) for lane in (*run.sources, *run.below)]
    times = [moment.time for one in lanes for moment in one.lane.timeline]
    last = max([run.end, *times]) if times or run.end else 1.0
    first = 0.0
    span = (last - first) or 1.0
    gutter = max(84.0, max(len(visible(one.lane.name)) for one in lanes) * 8.0 + 30)
    pixels = min(max(_needed(lanes) * span, _NARROWEST), _WIDEST) / span
    scale = _Scale(0.0, pixels, first)
    start = gutter + max([20.0, *(face.width / 2 - scale.x(time) + 8 for one in lanes for time, face in one.faces)])
    scale.left = start
    line_end = scale.x(last) + 26
    right = max([line_end + 10, *_right_edges(lanes, scale)])
    lines = tuple(_wrapped(visible(call), int((right - gutter - 30) / (CHARACTER * 1.085))))
    top = 20.0
    placed: list[PlacedLane] = []
    box = (top, top)
    for number, one in enumerate(lanes):
        if number == len(run.sources) and lines:
            box = (top + 4, top + 4 + len(lines) * LINE + 20)
            top = box[1] + 12
        beads, dense = _placed(one, scale)
        rows = 1 + max([bead.row for bead in beads], default=0)
        y = top + (rows - 1) * ROW + 22
        placed.append(PlacedLane(one.lane, y, beads, _ends(one, scale), tuple(_spans(one, scale, line_end)), dense))
        top = y + 26
    ticks = tuple((scale.x(time), text) for time, text in _ticks(first, last, pixels))
    return Layout(right + 16, top + 38, gutter, line_end, start, tuple(placed), box, lines, top + 8, ticks)


def _items(lane: Lane[Any], faces: Faces) -> _Items:
    one = _Items(lane)
    for moment in lane.timeline:
        if moment.kind == "item":
            one.faces.append((moment.time, faces.of(moment.value, lane.name)))
        else:
            one.ends.append(moment)
    return one


def _needed(lanes: Sequence[_Items]) -> float:
    """The pixels a second that keep apart what comes at different times, wherever that can be had."""
    needed = 0.0
    for one in lanes:
        for (time, face), (later, next_face) in zip(one.faces, one.faces[1:], strict=False):
            if later > time:
                needed = max(needed, ((face.width + next_face.width) / 2 + _GAP) / (later - time))
    return needed


def _right_edges(lanes: Iterable[_Items], scale: _Scale) -> Iterable[float]:
    for one in lanes:
        for time, face in one.faces:
            yield scale.x(time) + face.width / 2 + 8
        for end in one.ends:
            text = _error_text(end)
            if text is not None and end is one.ends[-1]:
                yield scale.x(end.time) + 20 + len(text) * CHARACTER


def _placed(one: _Items, scale: _Scale) -> tuple[tuple[Placed, ...], bool]:
    """The beads of a lane, each in the lowest row where it has room; dots on the line if there are too many."""
    # An error stands on the line itself, as beads do; one at its time makes room.
    marks = [scale.x(end.time) for end in one.ends if end.kind == "error"]
    edges = [float("-inf")] * MOST_ROWS
    beads: list[Placed] = []
    for time, face in one.faces:
        x = scale.x(time)
        left, right = x - face.width / 2, x + face.width / 2
        for row in range(MOST_ROWS):
            blocked = row == 0 and any(left - 10 < mark < right + 10 for mark in marks)
            if left >= edges[row] and not blocked:
                edges[row] = right + _GAP
                beads.append(Placed(x, row, face, time))
                break
        else:
            return tuple(_dots(one, scale)), True
    return tuple(beads), False


def _dots(one: _Items, scale: _Scale) -> Iterable[Placed]:
    """One for each pixel and colour, however many items are there: a day of trades is a picture too."""
    held: dict[tuple[int, int], list[tuple[float, Face]]] = {}
    for time, face in one.faces:
        held.setdefault((round(scale.x(time)), face.colour), []).append((time, face))
    for (time, face), *others in held.values():
        title = f"{face.title} and {len(others)} more" if others else face.title
        yield Placed(scale.x(time), 0, replace(face, title=title), time)


def _ends(one: _Items, scale: _Scale) -> tuple[End, ...]:
    starts = [subscription.start for subscription in one.lane.subscriptions]
    ends: list[End] = []
    for end in one.ends:
        x, text = scale.x(end.time), _error_text(end)
        after = x + 24 + len(text or "") * CHARACTER
        room = not any(time > end.time and scale.x(time) < after for time in starts)
        ends.append(End(x, end.time, text, room))
    return tuple(ends)


def _spans(one: _Items, scale: _Scale, line_end: float) -> Iterable[Span]:
    ended = {round(end.time, 6) for end in one.ends}
    for subscription in one.lane.subscriptions:
        end = subscription.end
        right = line_end if end is None else scale.x(end)
        disposed = end is not None and round(end, 6) not in ended
        yield Span(scale.x(subscription.start), right, end is None, disposed, end)


def _error_text(end: Moment[Any]) -> str | None:
    if end.error is None:
        return None
    text = visible(str(end.error)) or type(end.error).__name__
    return text if len(text) <= _ERROR_CHARACTERS else text[: _ERROR_CHARACTERS - 1] + "…"


def _wrapped(call: str, most: int) -> Iterable[str]:
    """Lines of at most so many characters, broken after commas where that is possible."""
    for step in call.splitlines():
        line = ""
        for part in step.split(", "):
            joined = f"{line}, {part}" if line else part
            if len(joined) > most and line:
                yield line + ","
                joined = "    " + part
            line = joined
        yield line


def _ticks(first: float, last: float, pixels: float) -> Iterable[tuple[float, str]]:
    least = _TICK_DISTANCE / pixels
    if least > _LONG / 4:
        step = next((one for one in (30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200) if one >= least), 86400.0)
    else:
        power = 10 ** floor(log10(least))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
    for number in range(ceil(first / step), floor(last / step + 1e-9) + 1):
        yield number * step, _time_text(number * step, step)


def _time_text(time: float, step: float) -> str:
    if step >= _LONG * 60 and time:
        return f"{time / 3600:g} h"
    if step >= _LONG / 2 and time:
        return f"{time / 60:g} min"
    return f"{time:.9g} s" if time else "0"
