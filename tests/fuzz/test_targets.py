"""The targets of `make fuzz`, for a moment each; and everything that was ever found, again."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rxbridge.events import EncodedEvent, encode, to_event
from rxbridge.messages import Trade
from tests.fuzz.__main__ import FINDINGS, read
from tests.fuzz.acceptance import require_accepted
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import RECEIVED_AT, TARGETS

findings = sorted(FINDINGS.glob("*.json"))
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", TARGETS)
def test_the_inputs_to_begin_with_are_taken(name: str) -> None:
    for data in TARGETS[name].seeds:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
@unhurried
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_no_damage_breaks_a_promise(name: str, data: st.DataObject, seed: int) -> None:
    target = TARGETS[name]

    target.run(mutated(data.draw(st.sampled_from(target.seeds)), random.Random(seed)))


@pytest.mark.parametrize("name", TARGETS)
@unhurried
@given(data=st.binary(max_size=200))
def test_no_bytes_break_a_promise(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


@pytest.mark.parametrize("path", findings, ids=lambda path: path.stem)
def test_what_was_found_once_is_found_no_more(path: Path) -> None:
    finding = json.loads(path.read_text(encoding="utf-8"))
    assert finding["about"], "say what it was about"

    TARGETS[finding["target"]].run(read(path))


def event(**changes: object) -> EncodedEvent:
    made = encode(to_event(Trade(product_id="BTC-USD", trade_id=1, price="1", size="1")), 1)
    content = json.loads(made.body)
    for place, value in changes.items():
        *outer, name = place.split("__")
        inner = content
        for step in outer:
            inner = inner[step]
        inner[name] = value
    return replace(made, body=json.dumps(content).encode())


NOW = datetime.fromtimestamp(RECEIVED_AT / 1e9, UTC).replace(tzinfo=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"event_type": "trade"},
        {"event_id": "another"},
        {"timestamp": "2026-01-31T08:00:00Z"},
        {"timestamp": "2026-01-31T08:05:01"},
        {"payload__side": "\0"},
        {"payload__side": "\ud800"},
        {"payload__price": float("nan")},
        {"payload__price": float("inf")},
        {"context__request_id": "x" * 256},
        {"metrics__response_time_ms": 2**31},
        {"source__environment": "x" * 51},
        {"price": 1.0},
        {"payload__note": "x" * 11_000_000},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_event_that_pulsestream_would_refuse_is_noticed(changes: dict[str, object]) -> None:
    require_accepted(event(timestamp=NOW.isoformat()), RECEIVED_AT)
    with pytest.raises(Exception):  # noqa: B017, whichever rule of the server's it is that speaks
        require_accepted(event(**{"timestamp": NOW.isoformat(), **changes}), RECEIVED_AT)
