"""A laid-out picture as SVG: plain shapes and text, no scripts, no fonts to be fetched, for day and night."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from html import escape

from operators.marble.faces import BEAD, SMALL_BEAD, Face, visible
from operators.marble.layout import LINE, ROW, End, Layout, Placed, PlacedLane, Span

COLOURS = ("#2563eb", "#c2410c", "#047857", "#7c3aed", "#be123c", "#0e7490", "#a16207", "#475569")
"""Of the beads, in their order."""

# White text on each of them has a contrast of at least 4.5, by day and by night. The rules name the class of the
# picture, so that they touch nothing else on a page, and are the same in all pictures, so that these agree.
STYLE = (
    ".rx text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}"
    ".rx .name,.rx .tick{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}"
    ".rx .name{font-size:13px;font-weight:600}.rx .told{font-weight:400;font-style:italic}.rx .tick{font-size:11px}"
    ".rx .call{font-size:13px}.rx .in{fill:#fff;font-weight:600}.rx .part{font-size:11px}"
    + "".join(f".rx .c{number}{{fill:{colour}}}" for number, colour in enumerate(COLOURS))
    + ".rx .card{fill:#fff;stroke:#d8dee6}.rx .name,.rx .call{fill:#1b2430}.rx .tick,.rx .told{fill:#5b6675}"
    ".rx .line{stroke:#3b4654}.rx .idle{stroke:#b9c2cd}.rx .grid{stroke:#eef1f5}.rx .axis{stroke:#c4ccd6}"
    ".rx .head{fill:#3b4654}.rx .box{fill:#f3f6fb;stroke:#9fb0c6}.rx .list{fill:#e3e9f2;stroke:#8fa0b6}"
    ".rx .ring{stroke:#fff}.rx .cross{stroke:#c81e1e}.rx .why{fill:#b91c1c}.rx .off{fill:#fff;stroke:#3b4654}"
    "@media (prefers-color-scheme:dark){"
    ".rx .card{fill:#12171e;stroke:#2c3541}.rx .name,.rx .call{fill:#e6ebf2}.rx .tick,.rx .told{fill:#9aa7b6}"
    ".rx .line{stroke:#aab6c4}.rx .idle{stroke:#4a5563}.rx .grid{stroke:#1d242d}.rx .axis{stroke:#3a4552}"
    ".rx .head{fill:#aab6c4}.rx .box{fill:#1b2430;stroke:#4c5d73}.rx .list{fill:#2a3543;stroke:#5d6e84}"
    ".rx .ring{stroke:#12171e}.rx .cross{stroke:#f87171}.rx .why{fill:#fca5a5}.rx .off{fill:#12171e;stroke:#aab6c4}}"
)


def draw(layout: Layout, title: str, description: str) -> str:
    """The SVG as text; the same layout gives the same text, always."""
    body = "\n".join(_elements(layout))
    title, description = visible(title), visible(description)
    name = hashlib.sha256(f"{title}{description}{body}".encode()).hexdigest()[:8]
    width, height = layout.width, layout.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rx" role="img" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}" style="max-width:100%;height:auto" '
        f'aria-labelledby="t{name} d{name}">\n'
        f'<title id="t{name}">{escape(title)}</title>\n<desc id="d{name}">{escape(description)}</desc>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="card" x=".5" y=".5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="10"/>\n'
        f"{body}\n</svg>\n"
    )


def _elements(layout: Layout) -> Iterable[str]:
    yield from _grid(layout)
    for lane in layout.lanes:
        yield from _lane(lane, layout)
    if layout.call:
        yield from _box(layout)


def _grid(layout: Layout) -> Iterable[str]:
    for x, text in layout.ticks:
        yield f'<path class="grid" d="M{_n(x)} 14V{_n(layout.axis)}"/>'
        yield f'<path class="axis" d="M{_n(x)} {_n(layout.axis)}v5"/>'
        yield f'<text class="tick" x="{_n(x)}" y="{_n(layout.axis + 18)}" text-anchor="middle">{text}</text>'
    yield f'<path class="axis" d="M{_n(layout.start)} {_n(layout.axis)}H{_n(layout.right)}"/>'
    yield f'<text class="tick" x="{_n(layout.left - 10)}" y="{_n(layout.axis + 18)}" text-anchor="end">time</text>'


def _box(layout: Layout) -> Iterable[str]:
    top, bottom = layout.box
    left, width = layout.left - 4, layout.width - layout.left - 12
    yield (
        f'<rect class="box" x="{_n(left)}" y="{_n(top)}" width="{_n(width)}" height="{_n(bottom - top)}" rx="8" '
        f'stroke-width="1.2"/>'
    )
    for number, line in enumerate(layout.call):
        y = top + 10 + number * LINE + LINE * 0.7
        indented = len(layout.call) > 1
        place = f'x="{_n(left + 14)}"' if indented else f'x="{_n(left + width / 2)}" text-anchor="middle"'
        yield f'<text class="call" {place} y="{_n(y)}" xml:space="preserve">{escape(line)}</text>'


def _lane(lane: PlacedLane, layout: Layout) -> Iterable[str]:
    told = lane.lane.kind == "told"
    yield (
        f'<text class="name{" told" if told else ""}" x="{_n(layout.left - 10)}" y="{_n(lane.y + 4.5)}" '
        f'text-anchor="end">{escape(visible(lane.lane.name))}</text>'
    )
    if lane.dense:
        yield (
            f'<text class="tick" x="{_n(layout.left - 10)}" y="{_n(lane.y + 20)}" text-anchor="end">'
            f"{len(lane.lane.timeline.items)} items</text>"
        )
    if told or lane.lane.hot:
        yield _path("idle", f"M{_n(layout.start)} {_n(lane.y)}H{_n(layout.right)}", dashed=True)
    elif len(lane.spans) > 1:
        yield _path("idle", f"M{_n(lane.spans[0].left)} {_n(lane.y)}H{_n(lane.spans[-1].right)}", dashed=True)
    for span in lane.spans:
        yield from _span(span, lane.y)
    # Bars and stems stand behind the beads.
    yield from (_end(end, lane.y) for end in lane.ends)
    yield from (_stem(bead, lane.y) for bead in lane.beads if bead.row)
    yield from (_dot(bead, lane.y) if lane.dense else _bead(bead, lane.y - bead.row * ROW) for bead in lane.beads)


def _end(end: End, y: float) -> str:
    if end.error is None:
        return _path("line", f"M{_n(end.x)} {_n(y - 21)}v42", width=3)
    cross = _path("cross", f"M{_n(end.x - 8)} {_n(y - 8)}l16 16m0-16l-16 16", width=3)
    title = f"<title>{escape(end.error)} at {end.time:g} s</title>"
    text = f'<text class="why" x="{_n(end.x + 15)}" y="{_n(y + 4.2)}">{escape(end.error)}</text>' if end.room else ""
    return f"<g>{title}{cross}{text}</g>"


def _stem(bead: Placed, y: float) -> str:
    return _path("idle", f"M{_n(bead.x)} {_n(y)}V{_n(y - bead.row * ROW)}", width=1.5)


def _span(span: Span, y: float) -> Iterable[str]:
    yield _path("line", f"M{_n(span.left)} {_n(y - 4)}v8", width=1.5)
    yield _path("line", f"M{_n(span.left)} {_n(y)}H{_n(span.right)}", width=1.5)
    if span.open:
        yield f'<path class="head" d="M{_n(span.right + 7)} {_n(y)}l-9-4.5v9z"/>'
    if span.disposed:
        title = f"disposed at {span.end:g} s"
        yield (
            f'<rect class="off" x="{_n(span.right - 4.5)}" y="{_n(y - 4.5)}" width="9" height="9" stroke-width="1.5">'
            f"<title>{title}</title></rect>"
        )


def _dot(bead: Placed, y: float) -> str:
    title = f"<title>{escape(bead.face.title)} at {bead.time:g} s</title>"
    return f'<circle class="c{bead.face.colour}" cx="{_n(bead.x)}" cy="{_n(y)}" r="4.5" opacity=".75">{title}</circle>'


def _bead(bead: Placed, y: float) -> str:
    face, width = bead.face, bead.face.width
    title = f"<title>{escape(face.title)} at {bead.time:g} s</title>"
    shape = "list" if face.parts else f"c{face.colour} ring"
    rect = _pill(shape, bead.x, y, width, BEAD)
    if not face.parts:
        return f"<g>{title}{rect}{_label(face, bead.x, y, 'in')}</g>"
    left = bead.x - width / 2
    inner = "".join(
        _pill(f"c{part.colour}", left + centre, y, part.part_width, SMALL_BEAD)
        + _label(part, left + centre, y, "in part")
        for part, centre in zip(face.parts, face.part_centres(), strict=True)
    )
    return f"<g>{title}{rect}{inner}</g>"


def _pill(classes: str, x: float, y: float, width: float, height: float) -> str:
    radius = height / 2
    return (
        f'<rect class="{classes}" x="{_n(x - width / 2)}" y="{_n(y - radius)}" width="{_n(width)}" '
        f'height="{_n(height)}" rx="{_n(radius)}"/>'
    )


def _label(face: Face, x: float, y: float, classes: str) -> str:
    return f'<text class="{classes}" x="{_n(x)}" y="{_n(y + 4.2)}" text-anchor="middle">{escape(face.label)}</text>'


def _path(classes: str, path: str, *, width: float = 1.2, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="2 5"' if dashed else ""
    return f'<path class="{classes}" d="{path}" fill="none" stroke-width="{_n(width)}" stroke-linecap="round"{dashes}/>'


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
