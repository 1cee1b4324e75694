from __future__ import annotations

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

from operators import dedupe
from operators.testing import assert_conserved


@pytest.mark.parametrize(
    ("received", "emitted", "dropped", "trouble"),
    [
        ("abc", "ac", "", "lost: 'b', received as number 2"),
        ("abc", "abc", "b", "not received so often: 'b', dropped as number 1"),
        ("abc", "abxc", "", "never received: 'x', emitted as number 3"),
        ("abc", "acb", "", "out of order: 'b', emitted as number 3, after 'c'"),
        ("abcd", "ad", "cb", "out of order: 'b', dropped as number 2, after 'c'"),
        ("aa", "a", "", "lost: 'a', received as number 2"),
    ],
)
def test_what_is_wrong_is_told(received: str, emitted: str, dropped: str, trouble: str) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_conserved(received, emitted, dropped=dropped)

    counts, *troubles = str(raised.value).splitlines()
    assert counts == f"not conserved: {len(received)} received, {len(emitted)} emitted, {len(dropped)} dropped"
    assert troubles == [f"  {trouble}"]


def test_no_more_is_told_than_can_be_read() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_conserved(range(100), [])

    assert str(raised.value).splitlines()[-1] == "  and 90 more"


def test_order_may_be_that_of_each_product() -> None:
    assert_conserved(["a1", "b1", "a2"], ["b1", "a1", "a2"], order_within=lambda item: item[0])
    with pytest.raises(AssertionError, match="out of order: 'a1'"):
        assert_conserved(["a1", "b1", "a2"], ["b1", "a2", "a1"], order_within=lambda item: item[0])


def test_items_are_the_same_by_key_and_need_no_hash() -> None:
    assert_conserved([[1], [2]], [[1]], late=[[2]])
    assert_conserved([1, 2], [10, 20], key=lambda item: item % 9 if item > 9 else item)


@given(st.lists(st.sampled_from(["emitted", "dropped", "late"])), st.data())
def test_any_division_in_order_is_conserved_until_an_item_is_taken(places: list[str], data: st.DataObject) -> None:
    def part(name: str) -> list[int]:
        return [number for number, place in enumerate(places) if place == name]

    emitted = part("emitted")

    assert_conserved(range(len(places)), emitted, dropped=part("dropped"), late=part("late"))
    if emitted:
        emitted.remove(data.draw(st.sampled_from(emitted)))
        with pytest.raises(AssertionError, match="lost"):
            assert_conserved(range(len(places)), emitted, dropped=part("dropped"), late=part("late"))


@given(st.lists(st.integers(0, 9)))
def test_an_operator_of_this_package_conserves(items: list[int]) -> None:
    numbered, emitted, repeated = list(enumerate(items)), list[tuple[int, int]](), list[tuple[int, int]]()
    operator = dedupe(lambda one: one[1], repeated=repeated.append)
    reactivex.from_iterable(numbered).pipe(operator).subscribe(emitted.append)

    assert_conserved(numbered, emitted, repeated=repeated)
