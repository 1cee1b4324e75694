"""How Advanced Trade is spoken to, and how its answers are told from its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.advanced_protocol import ADVANCED, served_as
from rxbridge.coinbase.answers import Acknowledged, Refused
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.coinbase.protocol import FeedProtocol, Verb
from rxbridge.recording import read
from tests.rxbridge.coinbase.servers import HEARTBEATS, MARKET_TRADES

answer_in, is_data = ADVANCED.answers.answer_in, ADVANCED.answers.is_data


@pytest.mark.parametrize("verb", ["subscribe", "unsubscribe"])
def test_a_message_asks_for_one_channel(verb: Verb) -> None:
    message = ADVANCED.encode(verb, {"market_trades": ("BTC-USD", "ETH-USD")})
    assert msgspec.json.decode(message) == {
        "type": verb,
        "product_ids": ["BTC-USD", "ETH-USD"],
        "channel": "market_trades",
    }


def test_heartbeats_are_asked_for_without_products() -> None:
    message = ADVANCED.encode("subscribe", {"heartbeats": ("heartbeats",)})
    assert msgspec.json.decode(message) == {"type": "subscribe", "channel": "heartbeats"}


def test_an_unsubscribe_message_of_the_exchange_names_channels_and_products() -> None:
    message = EXCHANGE.encode("unsubscribe", {"ticker": ("BTC-USD",), "matches": ("ETH-USD",)})
    assert msgspec.json.decode(message) == {
        "type": "unsubscribe",
        "channels": [
            {"name": "ticker", "product_ids": ["BTC-USD"]},
            {"name": "matches", "product_ids": ["ETH-USD"]},
        ],
    }


def test_an_acknowledgement_is_a_set_of_pairs() -> None:
    data = (
        b'{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48Z","sequence_num":26,"events":[{"subscriptions":'
        b'{"candles":["ETH-EUR","BTC-EUR"],"heartbeats":["heartbeats"]}}]}'
    )
    pairs = {("candles", "ETH-EUR"), ("candles", "BTC-EUR"), ("heartbeats", "heartbeats")}
    assert answer_in(data) == Acknowledged(frozenset(pairs))
    assert not is_data(data)


def test_what_is_acknowledged_in_dollars_answers_for_usdc() -> None:
    data = b'{"channel":"subscriptions","events":[{"subscriptions":{"ticker":["BTC-USD"]}}]}'
    assert answer_in(data) == Acknowledged(frozenset({("ticker", "BTC-USD"), ("ticker", "BTC-USDC")}))
    assert [served_as(product) for product in ("BTC-USDC", "BTC-USD", "USDC-EUR")] == ["BTC-USD", "BTC-USD", "USDC-EUR"]


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"error","message":"authentication failure"}',
        b'{ "message": "authentication failure", "type": "error" }\n',
        b'{"channel":"ticks","type":"error","message":"authentication failure"}',
    ],
)
def test_an_error_is_recognized_however_it_is_written(data: bytes) -> None:
    assert answer_in(data) == Refused("authentication failure", "")
    assert not is_data(data)


@pytest.mark.parametrize(
    ("data", "pairs"),
    [
        (b'{"channel":"subscriptions"}', set()),
        (b'{"channel": "subscriptions", "events": null}', set()),
        (b'{"channel":"subscriptions","events":[null,7,{"subscriptions":[]}]}', set()),
        (b'{"channel":"subscriptions","events":[{"subscriptions":{"heartbeats":null}}]}', {("heartbeats",) * 2}),
        (
            b'{"events":[{"subscriptions":{"a":[1,"P"]}},{"subscriptions":{"b":["Q"],"c":"R"}}],"channel":"subscriptions"}',
            {("a", "P"), ("b", "Q")},
        ),
    ],
)
def test_acknowledgements_of_odd_shapes_are_acknowledgements(data: bytes, pairs: set[tuple[str, str]]) -> None:
    assert answer_in(data) == Acknowledged(frozenset(pairs))
    assert not is_data(data)


@pytest.mark.parametrize(
    "data",
    [MARKET_TRADES, HEARTBEATS, b'{"channel":"status"}', b'{ "channel": "l2_data", "events": "error" }'],
)
def test_data_are_no_answers(data: bytes) -> None:
    assert answer_in(data) is None
    assert is_data(data)


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b'{"channel":null}', b'{"type":"ticker"}', b'{"channel":'])
def test_garbage_and_messages_of_the_other_feed_are_neither(data: bytes) -> None:
    assert answer_in(data) is None
    assert not is_data(data)


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(msgspec.json.encode))
def test_no_frame_makes_it_raise(data: bytes) -> None:
    answer_in(data)
    is_data(data)
    answer_in(b'{"channel":"subscriptions","events":' + data + b"}")
    answer_in(b'{"channel":"subscriptions","events":[{"subscriptions":{"ticker":' + data + b"}}]}")


def _answers_of(path: Path, protocol: FeedProtocol) -> tuple[list[Acknowledged], list[bytes]]:
    """The acknowledgements of a recording, and all else, none of which may be anything but data."""
    acknowledged: list[Acknowledged] = []
    others: list[bytes] = []
    for frame in read(path):
        answer = protocol.answers.answer_in(frame.data)
        assert protocol.answers.is_data(frame.data) is (answer is None)
        if isinstance(answer, Acknowledged):
            acknowledged.append(answer)
        else:
            assert answer is None
            others.append(frame.data)
    return acknowledged, others


def test_the_recorded_answers_are_recognized_and_all_else_is_data(real_recording: Callable[[str], Path]) -> None:
    acknowledged, others = _answers_of(real_recording("advanced-2026"), ADVANCED)

    assert Counter(len(answer.pairs) for answer in acknowledged) == {4: 1, 8: 1, 12: 1, 16: 1, 17: 1}
    assert {channel for channel, _ in acknowledged[-1].pairs} == {
        "candles", "heartbeats", "level2", "market_trades", "ticker",
    }  # fmt: skip
    assert len(others) == 644
    assert all(data.startswith(ADVANCED.answers.data) for data in others), "the quick way is not taken"


def test_so_it_is_for_the_exchange(real_recording: Callable[[str], Path]) -> None:
    acknowledged, others = _answers_of(real_recording("exchange-2021"), EXCHANGE)

    assert len(acknowledged) == 3
    assert all(data.startswith(EXCHANGE.answers.data) for data in others), "the quick way is not taken"
