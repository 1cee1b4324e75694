"""The Exchange's channels that need a key: what is signed, and what becomes of a signature that is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from rxbridge.coinbase import frames
from rxbridge.coinbase.answers import Refused
from rxbridge.coinbase.decoding import decode
from rxbridge.coinbase.exchange_protocol import EXCHANGE, signed
from rxbridge.coinbase.exchange_signing import signer
from rxbridge.errors import ConfigError
from rxbridge.messages import BookSnapshot, Frame, Order, RfqMatch, Trade
from rxbridge.simulator import Credentials, Simulator
from rxbridge.telemetry.statistics import FeedStatistics
from tests.rxbridge.coinbase.servers import Observed, wait_for

KEY = Credentials("the-api-key-1", base64.b64encode(b"a secret of some length").decode(), "open sesame 7")
Watch = Callable[[Any], Observed]


def feed(simulator: Simulator, *channels: str, key: Credentials = KEY, **options: Any) -> Any:
    given: Mapping[str, Any] = {"api_key": key.key, "api_secret": key.secret, "api_passphrase": key.passphrase}
    return frames(["BTC-USD"], channels, url=simulator.url, **given, **options)


@pytest.fixture
def simulator() -> Any:
    with Simulator(products=["BTC-USD"], rate=50, credentials=KEY) as one:
        yield one


def test_the_signature_is_the_documented_one() -> None:
    sign = signer("key", base64.b64encode(b"secret").decode(), "phrase", clock=lambda: 1_700_000_000.9)

    # By: printf '1700000000GET/users/self/verify' | openssl dgst -sha256 -hmac secret -binary | base64
    assert sign() == {
        "key": "key",
        "passphrase": "phrase",
        "timestamp": "1700000000",
        "signature": "lhmJXK08fk9SI1ZwFXKFRrPtzfbNOwC+D1xMJJ/1KZg=",
    }


def test_each_message_is_signed_anew_and_only_where_that_is_needed() -> None:
    times = iter((1.0, 2.0))
    protocol = signed(signer("key", KEY.secret, "phrase", clock=lambda: next(times)))

    first, second = (msgspec.json.decode(protocol.encode("subscribe", {"full": ("BTC-USD",)})) for _ in range(2))

    assert (first["timestamp"], second["timestamp"]) == ("1", "2")
    assert first["signature"] != second["signature"]
    ticker, full = {"ticker": ("A",)}, {"full": ("A",)}
    assert protocol.encode("subscribe", ticker) == EXCHANGE.encode("subscribe", ticker)
    assert protocol.encode("unsubscribe", full) == EXCHANGE.encode("unsubscribe", full)


@pytest.mark.parametrize("secret", ["no base64", "", "ÄÖÜ="])
def test_a_secret_that_cannot_sign_is_refused_and_not_told(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"feed\.api_secret: is not base64") as refused:
        signer("key", secret, "phrase")
    assert not secret or secret not in str(refused.value)
    assert refused.value.__context__ is None


@pytest.mark.parametrize("channel", ["full", "rfq_matches"])
def test_without_a_key_it_is_said_what_to_set(channel: str) -> None:
    with pytest.raises(ConfigError, match=rf"channels: the channel '{channel}' needs a key.*set feed\.api_key"):
        frames(["BTC-USD"], [channel])


def test_a_key_is_whole_and_of_the_exchange() -> None:
    with pytest.raises(ConfigError, match="belong together"):
        frames(["BTC-USD"], api_key="key", api_secret=KEY.secret)
    with pytest.raises(ConfigError, match="the feed 'advanced' takes no such key"):
        frames(["BTC-USD"], feed="advanced", api_key="key", api_secret=KEY.secret, api_passphrase="phrase")


def test_with_the_key_everything_comes(simulator: Simulator, watch: Watch) -> None:
    statistics = FeedStatistics()
    observed = watch(feed(simulator, "full", "level2", "rfq_matches", "matches", statistics=statistics))

    def messages(kind: type[Any]) -> list[Any]:
        return [message for frame in tuple(observed.frames) for message in decode(frame) if isinstance(message, kind)]

    wait_for(lambda: messages(Order) and messages(RfqMatch) and messages(BookSnapshot) and len(messages(Trade)) > 3)
    wait_for(lambda: statistics.settled)
    assert not statistics.rejected_channels


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (KEY._replace(key="another"), "Invalid API Key"),
        (KEY._replace(passphrase="another"), "Invalid Passphrase"),
        (KEY._replace(secret=base64.b64encode(b"another").decode()), "invalid signature"),
    ],
)
def test_a_refused_signature_is_explained_and_costs_no_other_channel(
    simulator: Simulator, watch: Watch, log: list[str], key: Credentials, reason: str
) -> None:
    statistics = FeedStatistics()
    watch(feed(simulator, "full", "level2", "ticker", key=key, statistics=statistics))

    wait_for(lambda: statistics.settled)

    assert statistics.rejected_channels.keys() == {"full", "level2"}
    assert statistics.rejected_channels["full"].endswith(f": {reason}")
    assert "check feed.api_key" in statistics.rejected_channels["full"]
    assert "clock" in statistics.rejected_channels["full"]
    assert not statistics.rejected_products
    assert simulator.statistics.frames["error"] == 1
    told = "\n".join(log)
    for secret in (*KEY, *key):
        assert secret not in told


def test_who_asks_for_a_signature_that_was_given_does_not_take_it() -> None:
    protocol = signed(signer("key", KEY.secret, "phrase"))
    demanded = {"type": "error", "message": "Failed to subscribe", "reason": "full channels now require authentication"}

    answer = protocol.answers.answer_in(msgspec.json.encode(demanded))

    assert isinstance(answer, Refused)
    assert answer.reason.startswith("signature not taken; check feed.api_key")
    assert answer.reason.endswith(demanded["reason"])
    other = protocol.answers.answer_in(b'{"type":"error","message":"Failed to subscribe","reason":"X is not valid"}')
    assert other == Refused("Failed to subscribe", "X is not valid")


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (
            {"type": "received", "order_type": "market", "funds": "3000.234", "price": "", "client-oid": "x"},
            {"kind": "received", "order_type": "market", "funds": "3000.234", "price": ""},
        ),
        ({"type": "open", "remaining_size": "1.00"}, {"kind": "open", "remaining_size": "1.00"}),
        ({"type": "done", "reason": "filled", "price": None}, {"kind": "done", "reason": "filled", "price": None}),
        (
            {"type": "change", "reason": "STP", "old_size": "12.2", "new_size": "5.2"},
            {"kind": "change", "reason": "STP", "old_size": "12.2", "new_size": "5.2"},
        ),
        (
            {"type": "activate", "timestamp": "1483736448.299000", "stop_type": "entry", "private": True},
            {"kind": "activate", "timestamp": "1483736448.299000", "stop_type": "entry", "time": None},
        ),
    ],
)
def test_what_happens_to_orders_is_read(content: dict[str, Any], fields: dict[str, Any]) -> None:
    data = json.dumps({"product_id": "BTC-USD", "order_id": "one", "sequence": 7, "side": "buy", **content}).encode()
    (message,) = decode(Frame(data=data, received_at=1, connection=1, index=0))

    assert isinstance(message, Order)
    assert (message.product_id, message.order_id, message.sequence, message.side) == ("BTC-USD", "one", 7, "buy")
    assert {name: getattr(message, name) for name in fields} == fields
