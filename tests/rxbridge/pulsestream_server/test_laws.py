"""Two things that the server takes for granted of JSON."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.pulsestream_server.ingestion import LARGEST_GROWTH
from rxbridge.pulsestream_server.stored_event import DatabaseRefused, jsonb

# The characters that matter, and any other.
CHARACTERS = st.sampled_from('\0\\"u0\x7f\ud800\udc00é😀/') | st.characters()
TEXT = st.text(CHARACTERS, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_storable(value: Any) -> bool:
    """Whether PostgreSQL's jsonb takes it, by walking through it."""
    if isinstance(value, str):
        return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(is_storable(key) and is_storable(inner) for key, inner in value.items())
    return all(map(is_storable, value)) if isinstance(value, list) else True


@unhurried
@given(OBJECTS)
def test_exactly_what_jsonb_takes_is_encoded_and_means_the_same(value: dict[str, Any]) -> None:
    if is_storable(value):
        assert json.loads(jsonb(value)) == value
    else:
        with pytest.raises(DatabaseRefused):
            jsonb(value)


def as_sent(value: Any, number: str) -> str:
    """The shortest JSON there is, each float written as `number`."""
    if isinstance(value, float):
        return number
    if isinstance(value, dict):
        return "{" + ",".join(f"{as_sent(key, number)}:{as_sent(inner, number)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(as_sent(inner, number) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@unhurried
@given(OBJECTS, st.sampled_from(["1e15", "9e15", "1e1", "1e-4", "1e16", "0e0", "NaN"]))
def test_a_payload_never_grows_by_more_than_is_allowed_for(value: dict[str, Any], number: str) -> None:
    body = as_sent(value, number)

    assert len(json.dumps(json.loads(body))) <= LARGEST_GROWTH * len(body.encode("utf-8", "surrogatepass"))
