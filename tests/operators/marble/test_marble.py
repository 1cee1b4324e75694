from __future__ import annotations

import re
from itertools import pairwise
from threading import Event
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import reactivex
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from operators import attempt, batch, stall_after
from operators.marble import Marble, marble
from operators.marble.faces import Faces
from operators.marble.layout import MOST_ROWS, PlacedLane, lay_out
from operators.marble.svg import COLOURS
from operators.testing import Moment, Timeline, VirtualTime, quote, trade
from tests.operators.support import DEADLINE, join, start

SVG = "{http://www.w3.org/2000/svg}"


def words(picture: Marble) -> list[str]:
    """All text that is drawn, titles excepted."""
    return [element.text or "" for element in ET.fromstring(picture.svg()).iter(f"{SVG}text")]  # noqa: S314 our own


def titles(picture: Marble) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture.svg()).iter(f"{SVG}title")]  # noqa: S314 our own


def batches(clock: VirtualTime) -> Observable[list[str]]:
    source: Observable[str] = clock.cold("a-b-c--d|")
    return source.pipe(
        batch(
            count=2,
            seconds=5,
            scheduler=clock,
        ),
        clock.watch("batches"),
        ops.filter(lambda held: len(held) > 1),
    )


def test_the_call_is_what_the_code_says_but_for_the_scheduler() -> None:
    assert marble(batches).call == "batch(count=2, seconds=5)\nops.filter(lambda held: len(held) > 1)"


def test_a_decorated_function_becomes_its_picture() -> None:
    @marble(title="Two by two", until=3)
    def picture(clock: VirtualTime) -> Observable[list[str]]:
        return clock.cold("a-b-c-d|").pipe(ops.buffer_with_count(2))

    assert picture.call == "ops.buffer_with_count(2)"
    assert picture.run.items == [["a", "b"]]
    assert titles(picture)[0] == "Two by two"


def test_a_function_whose_source_cannot_be_read_is_drawn_without_it() -> None:
    namespace: dict[str, Any] = {}
    exec("def build(clock): return clock.cold('a|')", namespace)  # noqa: S102 a function that is in no file

    assert marble(namespace["build"]).call == ""


def test_every_item_and_end_is_drawn_at_its_time() -> None:
    def failing(clock: VirtualTime) -> Observable[float]:
        source, failed = clock.cold("a--b#", a="1", b="x", error=OSError("lost <it>")), clock.told("failed")
        return source.pipe(attempt(float, failed))

    picture = marble(failing)

    assert titles(picture)[1:] == [
        "lost <it> at 4 s",
        "1 at 0 s",
        "x at 3 s",
        "lost <it> at 4 s",
        "1 at 0 s",
        "x at 3 s",
    ]
    assert {"source", "result", "failed", "attempt(float, failed)", "lost <it>"} <= set(words(picture))
    assert picture.description() == (
        "source: 1 at 0 s, x at 3 s, fails with lost <it> at 4 s. result: 1 at 0 s, fails with lost <it> at 4 s. "
        "failed: x at 3 s. Through attempt(float, failed)."
    )


def test_a_source_that_is_disposed_says_so() -> None:
    def stalled(clock: VirtualTime) -> Observable[str]:
        source: Observable[str] = clock.hot("a-------b|")
        return source.pipe(stall_after(3, lambda _: TimeoutError(), scheduler=clock))

    assert "disposed at 3 s" in titles(marble(stalled))


def test_the_same_run_gives_the_same_text() -> None:
    assert marble(batches).svg() == marble(batches).svg() == marble(batches)._repr_svg_()


def test_the_parts_of_a_list_have_the_colours_that_they_had_alone() -> None:
    faces = Faces()
    alone = [faces.of(item, "source").colour for item in ("a", "b")]

    assert [part.colour for part in faces.of(["a", "b"], "result").parts] == alone
    assert faces.of(list("abcdefgh"), "result").parts == ()


@pytest.mark.parametrize(
    ("item", "label"),
    [
        (trade("100.50"), "100.50"),
        (quote(99, 101), "99/101"),
        (2 / 3, "0.666667"),
        (None, "None"),
        ((1, "a"), "[1, a]"),
    ],
)
def test_items_have_short_labels(item: object, label: str) -> None:
    assert Faces().of(item, "result").label == label


def test_an_observable_of_the_librarys_needs_no_function() -> None:
    picture = marble(reactivex.interval(60), until=600, call="reactivex.interval(60)")

    assert picture.run.items == list(range(10))
    assert {"10 min", "reactivex.interval(60)"} <= set(words(picture))


def test_a_live_stream_is_looked_at_for_a_while_and_let_go_of() -> None:
    disposed = list[bool]()

    def subscribe(observer: ObserverBase[str], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        observer.on_next("a")
        return Disposable(lambda: disposed.append(True))

    picture = marble(Observable(subscribe), seconds=0.05)

    assert picture.run.items == ["a"]
    assert picture.run.end >= 0.05
    assert any(title.startswith("disposed at") for title in titles(picture))
    assert disposed == [True]


def test_a_live_stream_may_speak_on_a_thread_of_its_own() -> None:
    subject, subscribed = Subject[str](), Event()

    def subscribe(observer: ObserverBase[str], scheduler: SchedulerBase | None = None) -> DisposableBase:
        subscription = subject.subscribe(observer, scheduler=scheduler)
        subscribed.set()
        return subscription

    def speak() -> None:
        subscribed.wait(DEADLINE)
        subject.on_next("a")
        subject.on_completed()

    threads = start(speak)
    picture = marble(Observable(subscribe), seconds=DEADLINE)
    join(*threads)

    assert [moment.kind for moment in picture.run.timeline] == ["item", "completion"]
    assert picture.run.end < DEADLINE


def test_a_live_stream_that_ends_is_not_waited_for() -> None:
    picture = marble(reactivex.throw(OSError("lost")), seconds=3600)

    assert [moment.kind for moment in picture.run.timeline] == ["error"]


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", COLOURS)
def test_labels_can_be_read_on_their_beads(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_a_run_can_be_drawn_later() -> None:
    clock = VirtualTime()
    run = clock.run(clock.cold("a|"))

    assert marble(run).run is run


def test_a_picture_is_plain_and_says_what_it_is() -> None:
    text = marble(batches).svg()
    root = ET.fromstring(text)  # noqa: S314 our own
    name = root.attrib["aria-labelledby"]

    assert root.attrib["role"] == "img"
    assert name.split() == [root[0].attrib["id"], root[1].attrib["id"]]
    assert not re.search(r"<script|href|url\(|@import|@font-face| on\w+=", text)
    assert "prefers-color-scheme:dark" in text


def test_what_xml_forbids_is_written_out_wherever_text_goes() -> None:
    def forbidden(clock: VirtualTime) -> Observable[Any]:
        error = OSError("\x1b[31mlost")
        return clock.cold("a-b#", a="x", b=["\x00", "\ud800"], name="so\x08urce", error=error).pipe(
            clock.watch("\ufffe")
        )

    picture = marble(forbidden, call="parse('\x0b')", title="Two\x07")

    drawn = words(picture)
    assert {r"\x00", r"\ud800", r"so\x08urce", r"\x1b[31mlost", r"parse('\x0b')", r"\ufffe"} <= set(drawn)
    assert titles(picture)[0] == r"Two\x07"
    assert r"so\x08urce: x at 0 s" in picture.svg()
    assert words(marble(lambda clock: clock.cold("a|", a="tab\tand é \U0001f600"))).count("tab\tand é \U0001f600") == 2


def test_a_function_that_gives_nothing_to_draw_is_an_error() -> None:
    def forgotten(clock: VirtualTime) -> None:
        clock.cold("a|")

    nothing: Any = forgotten
    number: Any = 3
    with pytest.raises(TypeError, match=r"forgotten gives no Observable, and so no run to draw, but NoneType: return "):
        marble(nothing)
    with pytest.raises(TypeError, match="not int"):
        marble(number)


def test_too_many_items_are_dots_and_all_of_them_are_there() -> None:
    many = Timeline(tuple(Moment(number / 10, "item", f"item {number}") for number in range(500)))
    picture = marble(lambda clock: clock.hot(many))

    assert words(picture).count("500 items") == 2
    assert picture.svg().count("<circle") == 1000


def test_a_picture_of_very_many_items_stays_small() -> None:
    many = Timeline(tuple(Moment(number / 1000, "item", trade(number)) for number in range(20_000)))
    picture = marble(lambda clock: clock.hot(many))

    assert words(picture).count("20000 items") == 2
    assert any(title.startswith("0 and ") for title in titles(picture))
    assert len(picture.svg()) < 500_000


@st.composite
def timelines(draw: st.DrawFn) -> Timeline[str]:
    times = sorted(draw(st.lists(st.floats(0, 500), max_size=30)))
    texts = st.text("abc &<é\x00\x1f\ud800\ufffe", max_size=30)
    end = draw(
        st.sampled_from([(), (Moment[str](501, "completion"),), (Moment[str](501, "error", error=OSError("x")),)])
    )
    return Timeline((*(Moment(time, "item", draw(texts)) for time in times), *end))


def overlapping(lane: PlacedLane) -> bool:
    rows = [[bead for bead in lane.beads if bead.row == row] for row in range(MOST_ROWS)]
    return any(
        one.x + one.face.width / 2 > other.x - other.face.width / 2 for row in rows for one, other in pairwise(row)
    )


@settings(deadline=None)
@given(timelines())
def test_whatever_comes_no_label_is_over_another_and_all_is_inside(timeline: Timeline[str]) -> None:
    picture = marble(lambda clock: clock.cold(timeline))
    layout = lay_out(picture.run, picture.call, Faces())

    for lane in layout.lanes:
        assert lane.dense or len(lane.beads) == len(timeline.items)
        assert lane.dense or not overlapping(lane)
        for bead in lane.beads:
            width = 0 if lane.dense else bead.face.width
            assert layout.left <= bead.x - width / 2
            assert bead.x + width / 2 <= layout.width
            assert lane.y - bead.row * 35 >= 35 / 2
    assert ET.fromstring(picture.svg()).tag == f"{SVG}svg"  # noqa: S314 our own
