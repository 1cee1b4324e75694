from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.answers import Acknowledged, Refused
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from tests.rxbridge.coinbase.servers import HEARTBEAT, TICKER

answer_in, is_data = EXCHANGE.answers.answer_in, EXCHANGE.answers.is_data
ERROR = Refused("Failed to subscribe", "X is not a valid product")


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}',
        b'{"type": "error", "message": "Failed to subscribe", "reason": "X is not a valid product"}',
        b'{"reason":"X is not a valid product","message":"Failed to subscribe","more":[{}],"type":"error"}\n',
    ],
)
def test_an_error_is_recognized_however_it_is_written(data: bytes) -> None:
    assert answer_in(data) == ERROR
    assert not is_data(data)


def test_an_acknowledgement_is_a_set_of_pairs() -> None:
    data = (
        b'{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["ETH-USD","BTC-USD"],"account_ids":null},'
        b'{"name":"heartbeat","product_ids":["BTC-USD"]}]}'
    )
    pairs = {("ticker", "ETH-USD"), ("ticker", "BTC-USD"), ("heartbeat", "BTC-USD")}
    assert answer_in(data) == Acknowledged(frozenset(pairs))
    assert not is_data(data)


def test_a_channel_may_be_acknowledged_by_another_name() -> None:
    data = b'{"type":"subscriptions","channels":[{"name":"level2_50","product_ids":["ETH-USD"]}]}'

    assert answer_in(data) == Acknowledged(frozenset({("level2_batch", "ETH-USD")}))


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b'{"type":"error"}', Refused("", "")),
        (b'{"type":"error","message":null,"reason":7}', Refused("", "")),
        (b'{"type":"subscriptions"}', Acknowledged(frozenset())),
        (b'{"type":"subscriptions","channels":null}', Acknowledged(frozenset())),
        (b'{"type":"subscriptions","channels":{"ticker":1}}', Acknowledged(frozenset())),
        (b'{"type":"subscriptions","channels":["ticker"]}', Acknowledged(frozenset())),
        (
            b'{"type":"subscriptions","channels":[7,{"name":"a","product_ids":[1,"P",null]},{"name":"b","product_ids":null}]}',
            Acknowledged(frozenset({("a", "P")})),
        ),
    ],
)
def test_answers_of_odd_shapes_are_answers(data: bytes, answer: Acknowledged | Refused) -> None:
    assert answer_in(data) == answer


@pytest.mark.parametrize(
    "data", [TICKER, HEARTBEAT, b'{"type":"status"}', b'{"type":"l2update","x":"error"}', b'{"type": "match"}']
)
def test_data_are_no_answers(data: bytes) -> None:
    assert answer_in(data) is None
    assert is_data(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\xff", b"null", b"[1]", b"{}", b'{"type":null}', b'{"type":', b'"error"', b'{"a":' + b"[" * 200_000],
)
def test_garbage_is_neither(data: bytes) -> None:
    assert answer_in(data) is None
    assert not is_data(data)


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(msgspec.json.encode))
def test_no_frame_makes_it_raise(data: bytes) -> None:
    answer_in(data)
    is_data(data)
    answer_in(b'{"type":"subscriptions","channels":' + data + b"}")
