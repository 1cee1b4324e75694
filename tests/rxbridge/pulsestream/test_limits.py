import pytest

from rxbridge.pulsestream.limits import LONGEST_PAUSE_SECONDS, resume_at, server_time

NOON = 1_714_564_800.0  # Wed, 01 May 2024 12:00:00 GMT
AT_17 = "Wed, 01 May 2024 12:00:17 GMT"


def test_without_retry_after_it_is_the_next_minute_of_the_server() -> None:
    assert resume_at(None, AT_17, NOON + 17) == NOON + 60


@pytest.mark.parametrize("skew", [-86_400.0, -25.0, 0.4, 40.0, 1e9])
def test_our_own_clock_may_be_wrong(skew: float) -> None:
    now = NOON + 17 + skew
    assert resume_at(None, AT_17, now) == now + 43


def test_on_the_minute_it_is_the_next_one() -> None:
    assert resume_at(None, "Wed, 01 May 2024 12:00:00 GMT", NOON) == NOON + 60


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Wed, 01 May 2024 12:01:00 GMT", 43),
        ("Wed, 01 May 2024 11:00:00 GMT", 0),
        ("99999999999999999999999", LONGEST_PAUSE_SECONDS),
        ("9" * 400, LONGEST_PAUSE_SECONDS),
        ("Wed, 01 May 2124 11:00:00 GMT", LONGEST_PAUSE_SECONDS),
        ("soon", 43),
        ("-5", 43),
        ("²", 43),
        ("1.5", 43),
    ],
)
def test_retry_after_in_both_forms(retry_after: str, seconds: float) -> None:
    now = NOON + 1_000_000
    assert resume_at(retry_after, AT_17, now) == now + seconds


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 May 2024 12:00:17 GMT", "0"])
def test_a_missing_or_senseless_date_leaves_our_own_clock(date: str | None) -> None:
    assert server_time(date, NOON + 5) == NOON + 5
    assert resume_at(None, date, NOON + 5) == NOON + 60


def test_a_date_without_a_zone_is_utc() -> None:
    assert server_time("Wed, 01 May 2024 12:00:17 -0000", 0) == NOON + 17
