from __future__ import annotations

import pytest

from rxbridge.coinbase.watchdog import PING, Watchdog


def test_silence_is_pinged_twice_and_ends_on_time() -> None:
    watchdog = Watchdog(15.0, now=100.0)
    findings: list[tuple[float, str]] = []
    for _ in range(3):
        now = watchdog.deadline
        findings.append((now, watchdog.look(now, received=0)))
    assert findings == [(105.0, "ping"), (110.0, "ping"), (115.0, "stalled")]
    assert not watchdog.answers_pings


def test_the_time_counts_from_the_last_frame() -> None:
    watchdog = Watchdog(15.0, now=0.0)
    watchdog.alive_at = 4.0
    assert (watchdog.look(5.0, 900), watchdog.deadline) == ("alive", 9.0)
    assert (watchdog.look(9.0, 900), watchdog.deadline) == ("ping", 14.0)
    assert (watchdog.look(14.0, 900), watchdog.deadline) == ("ping", 19.0)
    assert watchdog.look(19.0, 900) == "stalled"


def test_frames_that_come_are_life() -> None:
    watchdog = Watchdog(15.0, now=0.0)
    for second in range(1, 1000):
        watchdog.alive_at = float(second)
        if second >= watchdog.deadline:
            assert watchdog.look(float(second), received=second) == "alive"


def test_a_frame_after_pings_starts_a_new_silence() -> None:
    watchdog = Watchdog(15.0, now=0.0)
    watchdog.look(5.0, 0)
    watchdog.look(10.0, 0)
    watchdog.pong(PING)
    assert watchdog.answers_pings
    watchdog.alive_at = 12.0
    assert watchdog.look(15.0, 0) == "alive"
    assert not watchdog.answers_pings
    assert [watchdog.look(watchdog.deadline, 0) for _ in range(3)] == ["ping", "ping", "stalled"]


def test_a_process_that_slept_looks_again_before_it_gives_up() -> None:
    watchdog = Watchdog(15.0, now=0.0)
    assert (watchdog.look(3600.0, 0), watchdog.deadline) == ("ping", 3605.0)


@pytest.mark.parametrize(("bytes_a_step", "findings"), [(50_000, ["alive"] * 9), (1, ["ping", "ping", "stalled"])])
def test_a_large_frame_that_keeps_coming_is_life_and_a_trickle_is_not(bytes_a_step: int, findings: list[str]) -> None:
    watchdog = Watchdog(15.0, now=0.0)
    found = [watchdog.look(watchdog.deadline, received=bytes_a_step * step) for step in range(1, len(findings) + 1)]
    assert found == findings


def test_a_pong_that_answers_nothing_of_ours_is_none() -> None:
    watchdog = Watchdog(15.0, now=0.0)
    watchdog.pong(b"unsolicited")
    assert not watchdog.answers_pings
