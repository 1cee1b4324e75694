from __future__ import annotations

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex.scheduler import VirtualTimeScheduler

from operators.testing import Moment, Timeline, assert_timeline, timeline


def test_a_character_is_a_tick_and_a_group_is_one_moment() -> None:
    assert timeline("a-(b,c)-12 |", tick=0.5).moments == (
        Moment(0, "item", "a"),
        Moment(1, "item", "b"),
        Moment(1, "item", "c"),
        Moment(4, "item", 12),
        Moment(5, "completion"),
    )


def test_an_error_is_the_one_given() -> None:
    lost = OSError("lost")

    assert timeline("-#", error=lost).moments[0].error is lost
    assert timeline("-#") == Timeline((Moment(1.0, "error", error=Exception("error")),))


@pytest.mark.parametrize(
    ("marbles", "message"),
    [("a|b", "goes on after its end"), ("a,b", "stands alone"), ("a--c", "has c, and there are values for a, b")],
)
def test_what_is_no_marbles_is_refused(marbles: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timeline(marbles, {"a": 1, "b": 2} if "c" in marbles else {})


def test_a_value_that_is_not_in_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="has no b"):
        timeline("a|", a=1, b=2)


def test_errors_are_equal_by_type_and_text() -> None:
    assert timeline("#", error=OSError("a")) == timeline("#", error=OSError("a"))
    assert timeline("#", error=OSError("a")) != timeline("#", error=OSError("b"))
    assert timeline("#", error=OSError("a")) != timeline("#", error=ValueError("a"))
    assert timeline("#", error=OSError("None")) != timeline("|")


def test_a_difference_is_told_line_by_line() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_timeline(timeline("a-c#", error=OSError("lost")), timeline("a-b|"))

    assert str(raised.value).splitlines()[1:] == [
        "    0 s: 'a'",
        "  - 2 s: 'b'",
        "  - 3 s: completed",
        "  + 2 s: 'c'",
        "  + 3 s: failed with OSError('lost')",
    ]


@given(st.lists(st.sampled_from(["-", "--", "a", "b1", "(c,d)", "7", "1.5", " "])), st.sampled_from(["", "|", "#"]))
def test_the_notation_is_that_of_the_library(parts: list[str], end: str) -> None:
    # Two items side by side would be one: a dash between them keeps them apart.
    marbles = "-".join(parts) + "-" + end
    clock, got = VirtualTimeScheduler(), list[Moment[object]]()
    reactivex.cold(marbles, timespan=1.0, scheduler=clock).subscribe(
        lambda value: got.append(Moment(float(clock.clock), "item", value)),
        lambda error: got.append(Moment(float(clock.clock), "error", error=error)),
        lambda: got.append(Moment(float(clock.clock), "completion")),
    )
    clock.start()

    assert_timeline(timeline(marbles), Timeline(tuple(got)))
