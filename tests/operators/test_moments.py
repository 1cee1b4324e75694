from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators._moments import nanoseconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.000001Z", 1_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T00:00:00.0000001Z", 100),
        ("1970-01-01T01:00:00.123456789+01:00", 123_456_789),
        ("2026-08-09T21:05:48.228751305Z", 1_786_309_548_228_751_305),
    ],
)
def test_text_is_read_to_the_last_digit(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_text_of_nine_digits_is_exact(moment: int) -> None:
    seconds, below = divmod(moment, 1_000_000_000)
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")

    assert nanoseconds(f"{text}.{below:09}Z") == moment == nanoseconds(moment)


@given(st.datetimes(timezones=st.just(timezone(timedelta(hours=-5)))))
def test_a_datetime_is_exact_to_the_microsecond(moment: datetime) -> None:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)

    assert nanoseconds(moment) == since // timedelta(microseconds=1) * 1_000 == nanoseconds(moment.isoformat())


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [("now", ValueError), ("2026-01-01T00:00:00", ValueError), ("", ValueError), (None, TypeError), (1.5, TypeError)],
)
def test_what_is_no_moment_is_refused(wrong: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        nanoseconds(wrong)
