"""What several lines bring together, against a model that knows when each of them was up."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from rxbridge.backfill.coverage import Coverage
from rxbridge.backfill.coverage_state import CoverageState
from rxbridge.backfill.silences import Silence
from rxbridge.messages import MOST_LINES, line_of

SECOND = 10**9
OPENED = 1_700_000_000 * SECOND
CHANNEL = "ticker"
BTC, ETH = "BTC-USD", "ETH-USD"


class Up(NamedTuple):
    """A line is connected from one second to another."""

    line: int
    first: int
    last: int


def connection(up: Up) -> int:
    return (OPENED + up.first * SECOND) // MOST_LINES * MOST_LINES + up.line


def played(ups: list[Up], products: tuple[str, ...] = (BTC,)) -> list[Silence]:
    """Each connection acknowledges with its first frame, and has one a second; told and remembered after each."""
    moments = sorted((second, up) for up in ups for second in range(up.first, up.last + 1))
    state, silences = CoverageState(), list[Silence]()
    for second, up in moments:
        coverage = Coverage(state, [CHANNEL], products)
        now = OPENED + second * SECOND
        coverage.follow(connection(up), now).last_at = now
        coverage.hear(connection(up), CHANNEL, products, now, settled=second == up.first)
        silences += coverage.take_silences()
        state = msgspec.json.decode(msgspec.json.encode(coverage.state), type=CoverageState)
    return silences


def seconds_of(silences: list[Silence]) -> list[tuple[float, float]]:
    return sorted(((one.first - OPENED) / SECOND, (one.last - OPENED) / SECOND) for one in silences)


def truly_silent(ups: list[Up]) -> list[tuple[float, float]]:
    """From the end of a connection to the next beginning of any, where none is up meanwhile."""
    silent: list[tuple[float, float]] = []
    until = min(up.first for up in ups)
    for up in sorted(ups, key=lambda up: up.first):
        if up.first > until:
            silent.append((until, up.first))
        until = max(until, up.last)
    return silent


def test_a_break_that_another_line_bridges_is_no_silence() -> None:
    assert played([Up(0, 0, 10), Up(1, 0, 30), Up(0, 15, 40), Up(1, 35, 40)]) == []


def test_only_when_all_are_broken_it_is_a_silence() -> None:
    assert seconds_of(played([Up(0, 0, 10), Up(1, 0, 12), Up(0, 20, 40), Up(1, 30, 40)])) == [(12, 20)]


def test_a_line_that_was_down_while_another_broke_again_and_again_hides_none_of_it() -> None:
    ups = [Up(0, 0, 10), Up(1, 0, 3), Up(0, 15, 20), Up(0, 25, 30), Up(0, 32, 50), Up(1, 40, 50)]

    assert seconds_of(played(ups)) == [(10, 15), (20, 25), (30, 32)]


def test_a_line_that_never_comes_back_hides_nothing_for_ever() -> None:
    ups = [Up(0, 0, 10), Up(1, 0, 12), Up(0, 20, 200)]

    assert seconds_of(played(ups)) == [(12, 20)]


def test_products_of_one_break_share_a_silence() -> None:
    (silence,) = played([Up(0, 0, 10), Up(1, 0, 12), Up(0, 20, 40), Up(1, 30, 40)], (ETH, BTC))

    assert silence.products == (BTC, ETH)


def test_frames_that_two_lines_lost_at_different_times_were_brought_by_the_other() -> None:
    coverage = Coverage(CoverageState(), [CHANNEL], [BTC])
    one, two = connection(Up(0, 0, 0)), connection(Up(1, 0, 0))
    for second, lost_by in [(0, None), (1, None), (2, one), (3, None), (4, two), (5, None)]:
        now = OPENED + second * SECOND
        for each in (one, two):
            line = coverage.follow(each, now)
            if each == lost_by:
                coverage.lose(line, now, 7)
            line.last_at = now
            coverage.hear(each, CHANNEL, [BTC], now)

    assert coverage.take_silences() == []


def test_frames_that_both_lost_at_the_same_time_are_a_silence() -> None:
    coverage = Coverage(CoverageState(), [CHANNEL], [BTC])
    connections = [connection(Up(0, 0, 0)), connection(Up(1, 0, 0))]
    for second in range(4):
        for each in connections:
            now = OPENED + second * SECOND + line_of(each)
            line = coverage.follow(each, now)
            if second == 2:
                coverage.lose(line, now, 7)
            line.last_at = now
            coverage.hear(each, CHANNEL, [BTC], now)

    assert coverage.take_silences() == [Silence(CHANNEL, (BTC,), OPENED + SECOND + 1, OPENED + 2 * SECOND, 7)]


@st.composite
def _lines(draw: st.DrawFn) -> list[Up]:
    ups: list[Up] = []
    for line in range(draw(st.integers(1, 3))):
        edges = sorted(draw(st.sets(st.integers(0, 50), min_size=2, max_size=10)))
        ups += [Up(line, first, last) for first, last in list(pairwise(edges))[::2]]
        # In the end all are up, so that nothing is left open.
        ups.append(Up(line, 52 + line, 60))
    return ups


@given(_lines())
@example([Up(0, 0, 1), Up(0, 52, 60), Up(1, 2, 3), Up(1, 53, 60)])
def test_all_that_no_line_brought_is_told_and_nothing_else(ups: list[Up]) -> None:
    assert seconds_of(played(ups)) == truly_silent(ups)


def test_of_a_product_that_comes_back_only_the_time_in_which_it_was_wanted_is_told() -> None:
    """The other line has not come back by then, so all that is known of it is older than what was told already."""
    coverage = Coverage(CoverageState(), [CHANNEL], (BTC,))
    old, new, other, other_new = (connection(up) for up in (Up(0, 10, 20), Up(0, 30, 70), Up(1, 10, 15), Up(1, 60, 70)))

    def at(second: int) -> int:
        return OPENED + second * SECOND

    for each, last in ((old, 20), (other, 15)):
        line = coverage.follow(each, at(10))
        coverage.hear(each, CHANNEL, (BTC,), at(10), settled=True)
        line.last_at = at(last)
    coverage.spoil(other, CHANNEL, BTC, at(15))
    coverage.follow(new, at(30)).last_at = at(30)
    coverage.keep_products((), at(40))
    assert seconds_of(coverage.take_silences()) == [(20, 40)]
    coverage.keep_products((BTC,), at(50))
    coverage.follow(other_new, at(60))
    coverage.hear(new, CHANNEL, (BTC,), at(61), settled=True)

    assert seconds_of(coverage.take_silences()) == [(50, 61)]


def test_a_product_that_is_new_was_not_silent_while_nobody_had_asked_for_it() -> None:
    """Its connection had come to a standstill by then, and is replaced later."""
    coverage = Coverage(CoverageState(), [CHANNEL], (BTC,))
    old, new = connection(Up(0, 10, 20)), connection(Up(0, 40, 50))
    coverage.follow(old, OPENED + 10 * SECOND).last_at = OPENED + 20 * SECOND
    coverage.hear(old, CHANNEL, (BTC,), OPENED + 10 * SECOND, settled=True)
    coverage.keep_products((BTC, ETH), OPENED + 30 * SECOND)
    coverage.follow(new, OPENED + 40 * SECOND)
    coverage.hear(new, CHANNEL, (BTC, ETH), OPENED + 41 * SECOND, settled=True)

    silences = coverage.take_silences()
    assert [(one.products, *seconds_of([one])) for one in silences] == [((BTC,), (20, 41)), ((ETH,), (30, 41))]


def test_what_is_heard_of_a_product_that_is_about_to_be_wanted_counts() -> None:
    coverage = Coverage(CoverageState(), [CHANNEL], (BTC,))
    old, new = connection(Up(0, 10, 20)), connection(Up(0, 40, 50))
    coverage.follow(old, OPENED + 10 * SECOND).last_at = OPENED + 20 * SECOND
    coverage.expect_products((BTC, ETH))
    coverage.hear(old, CHANNEL, (BTC, ETH), OPENED + 20 * SECOND, settled=True)
    coverage.keep_products((BTC, ETH), OPENED + 30 * SECOND)
    coverage.follow(new, OPENED + 40 * SECOND)
    coverage.hear(new, CHANNEL, (BTC, ETH), OPENED + 41 * SECOND, settled=True)

    (silence,) = coverage.take_silences()
    assert (silence.products, seconds_of([silence])) == ((BTC, ETH), [(20, 41)])
