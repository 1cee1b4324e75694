"""What is embedded of a frame: the frame itself wherever PulseStream takes it."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.events import raw
from rxbridge.events.raw import embeddable

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"1"}',
        b'{"a": "1", "b": -1.5, "c": null, "d": true}',
        b"{}",
        b' {"a" : 1}\r\n',
        '{"a":"Grüße"}'.encode(),
        rb'{"a":"\"\\\/\b\f\n\r\t\u00fc\ud83d\ude00"}',
        b'{"a":1e308,"b":1E-400,"c":' + b"9" * 308 + b"}",
        b'{"a":0.1234567890123456789012345678901234567890}',
        b'{"a":[{"b":[]}]}',
        b'{"a":1,"a":2}',
        b"[" * 32 + b"]" * 32,
    ],
)
def test_what_pulsestream_takes_stays_as_it_is(data: bytes) -> None:
    assert embeddable(data) is data


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'{"a":"x\u0000y","b":1}', {"a": "x\N{REPLACEMENT CHARACTER}y", "b": 1}),
        (rb'{"a":"\ud800","\udc00":"\udc00\ud800"}', {"a": "\ufffd", "\ufffd": "\ufffd\ufffd"}),
        (rb'{"a\u0000":[{"b":"\u0000"}]}', {"a\ufffd": [{"b": "\ufffd"}]}),
        (b'{"a":1e400,"b":-1e400,"c":2.5}', {"a": "1e400", "b": "-1e400", "c": 2.5}),
        (b'{"a":' + b"9" * 5000 + b"}", {"a": "9" * 5000}),
        (b'{"a":NaN,"b":Infinity,"c":-Infinity}', {"a": "NaN", "b": "Infinity", "c": "-Infinity"}),
        (
            rb'{"a":"\u0000","big":123456789012345678901234567890}',
            {"a": "\ufffd", "big": 123456789012345678901234567890},
        ),
        (b"", ""),
        (b"{", "{"),
        (b'{"a":"\xff"}', '{"a":"\ufffd"}'),
        (b'{"a":"\x00"}', '{"a":"\ufffd"}'),
        (b"[" * 33 + b"]" * 33, "[" * 33 + "]" * 33),
        (b"[" * 100_000, "[" * 100_000),
        (rb'{"\u0000":1,"\ud800":2}', r'{"\u0000":1,"\ud800":2}'),
    ],
    ids=repr,
)
def test_what_pulsestream_would_choke_on_is_cleaned(data: bytes, value: Any) -> None:
    assert json.loads(embeddable(data)) == value


def test_a_frame_too_large_is_measured() -> None:
    largest = b'{"a":"%s"}' % (b"x" * ((1 << 20) - 8))

    assert embeddable(largest) is largest
    assert embeddable(largest + b" ") == b'{"omitted_bytes":1048577}'


def test_the_largest_embedded_frame_fits_into_a_payload() -> None:
    """However the server writes it: it measures `json.dumps` of what it parsed."""
    size = 1 << 20
    for worst in (b'{"a":"%s"}' % (b"\x7f" * (size - 8)), b"[%s9]" % (b"9e15," * ((size - 3) // 5)), b"\x01" * size):
        assert len(worst) <= size
        assert len(json.dumps(json.loads(embeddable(worst)))) < 10_000_000


@unhurried
@given(st.from_regex(raw._HARMLESS.__self__, fullmatch=True))
def test_the_fast_way_lets_nothing_through_that_the_slow_way_would_clean(data: bytes) -> None:
    assert raw._Cleaner().run(data) is data


dangerous = st.sampled_from(
    [rb"\u0000", rb"\ud800", b"\x00", b"\xff", b"NaN", b"1e999", b"[", b"{", b'"', b"\\", b"9" * 400]
)


@unhurried
@given(st.from_regex(raw._HARMLESS.__self__, fullmatch=True), st.binary(max_size=3) | dangerous, st.data())
def test_nor_does_it_when_the_frame_is_damaged(data: bytes, noise: bytes, draw: st.DataObject) -> None:
    cut = draw.draw(st.integers(0, len(data)))
    damaged = data[:cut] + noise + data[cut + draw.draw(st.integers(0, len(noise))) :]

    if raw._HARMLESS(damaged):
        assert raw._Cleaner().run(damaged) is damaged


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text("\0\ud800\udc00a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("\0\ud800a"), inner, max_size=3),
)


@unhurried
@given(values)
def test_cleaning_twice_changes_nothing_more(value: Any) -> None:
    cleaned = embeddable(json.dumps(value).encode())

    assert embeddable(cleaned) is cleaned
