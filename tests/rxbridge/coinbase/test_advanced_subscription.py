"""The subscription's state machine where a message asks for one channel: Advanced Trade."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.actions import Action, NothingLeft, Send, Settled, Unexplained
from rxbridge.coinbase.advanced_protocol import ADVANCED
from rxbridge.coinbase.answers import Acknowledged, Answer, Refused
from rxbridge.coinbase.rejections import Rejection
from rxbridge.coinbase.subscription import Subscription
from rxbridge.coinbase.wanted import Wanted
from tests.rxbridge.coinbase.negotiating import verdicts_of
from tests.rxbridge.coinbase.servers import advanced_acknowledgement

PRODUCTS = ("BTC-USD", "ETH-USD")
CHANNELS = ("ticker", "market_trades")
BEAT = {"heartbeats": ("heartbeats",)}
REFUSED = Refused("authentication failure", "")
UNNAMED = Refused("failure to subscribe", "")


def subscription(
    products: tuple[str, ...] = PRODUCTS, channels: tuple[str, ...] = CHANNELS, **options: Any
) -> Subscription:
    settings: dict[str, Any] = {"protocol": ADVANCED, "acknowledge_seconds": 5.0, "pause_seconds": 0.25} | options
    return Subscription(products, channels, **settings)


def acknowledged(*wanted: Wanted) -> Acknowledged:
    """What the feed answers when it holds all of this."""
    answer = ADVANCED.answers.answer_in(advanced_acknowledgement(*(ADVANCED.encode("subscribe", w) for w in wanted)))
    assert isinstance(answer, Acknowledged)
    return answer


def asked(actions: list[Action]) -> Wanted:
    (send,) = actions
    assert isinstance(send, Send)
    assert len(send.wanted) == 1
    return send.wanted


def asked_next(machine: Subscription) -> Wanted:
    return asked(machine.on_time(machine.deadline))


def test_it_asks_for_one_channel_after_the_other_heartbeats_first() -> None:
    machine = subscription()
    assert asked(machine.start(0.0)) == BEAT
    assert machine.on_answer(acknowledged(BEAT), 0.1) == []
    assert machine.deadline == 0.25
    assert asked_next(machine) == {"ticker": PRODUCTS}
    assert asked(machine.on_answer(acknowledged(BEAT, {"ticker": PRODUCTS}), 1.0)) == {"market_trades": PRODUCTS}
    everything = {"ticker": PRODUCTS, "market_trades": PRODUCTS, **BEAT}
    all_acknowledged = acknowledged(*({channel: products} for channel, products in everything.items()))
    assert machine.on_answer(all_acknowledged, 2.0) == [Settled(everything, {})]
    assert machine.deadline == inf


def test_heartbeats_that_are_asked_for_are_asked_for_once_and_without_products() -> None:
    machine = subscription(channels=("ticker", "heartbeats"))
    assert asked(machine.start(0.0)) == BEAT
    assert asked(machine.on_answer(acknowledged(BEAT), 1.0)) == {"ticker": PRODUCTS}
    (settled,) = machine.on_answer(acknowledged(BEAT, {"ticker": PRODUCTS}), 2.0)
    assert settled == Settled({"ticker": PRODUCTS, **BEAT}, {})


def test_what_is_not_acknowledged_waits_for_the_others_before_it_is_asked_for_again() -> None:
    machine = subscription(channels=("ticker",))
    machine.start(0.0)
    assert asked(machine.on_time(5.0)) == {"ticker": PRODUCTS}
    again = machine.on_answer(acknowledged({"ticker": PRODUCTS}), 6.0)
    assert again == [Send(BEAT, repeated=True)]
    assert machine.on_time(11.0) == [Settled({"ticker": PRODUCTS}, BEAT)]
    assert machine.on_answer(acknowledged(BEAT, {"ticker": PRODUCTS}), 60.0) == [
        Settled({"ticker": PRODUCTS, **BEAT}, {})
    ]


def test_a_product_that_is_left_out_silently_is_asked_for_again_alone() -> None:
    machine = subscription(("BTC-USD", "FOO-EUR"), ("ticker",))
    machine.start(0.0)
    asked(machine.on_answer(acknowledged(BEAT), 1.0))
    partly = acknowledged(BEAT, {"ticker": ("BTC-USD",)})
    assert machine.on_answer(partly, 1.1) == []
    assert machine.on_time(6.0) == [Send({"ticker": ("FOO-EUR",)}, repeated=True)]
    assert machine.on_time(11.0) == [Settled({"ticker": ("BTC-USD",), **BEAT}, {"ticker": ("FOO-EUR",)})]


def test_what_comes_in_dollars_is_no_product_that_is_missing() -> None:
    machine = subscription(("BTC-USDC",), ("ticker",))
    machine.start(0.0)
    assert asked(machine.on_answer(acknowledged(BEAT), 1.0)) == {"ticker": ("BTC-USDC",)}
    answer = acknowledged(BEAT, {"ticker": ("BTC-USD",)})
    assert machine.on_answer(answer, 1.1) == [Settled({"ticker": ("BTC-USDC",), **BEAT}, {})]


def test_an_error_that_wants_a_key_costs_the_channel_it_answers() -> None:
    machine = subscription()
    machine.start(0.0)
    asked(machine.on_answer(acknowledged(BEAT), 1.0))
    assert machine.on_answer(REFUSED, 1.1) == [Rejection("ticker", None, REFUSED.message)]
    assert asked_next(machine) == {"market_trades": PRODUCTS}


def test_an_error_that_says_nothing_is_traced_by_halves_of_the_products() -> None:
    machine = subscription(("A-USD", "B-USD", "C-USD"), ("ticker",))
    machine.start(0.0)
    asked(machine.on_answer(acknowledged(BEAT), 1.0))
    assert machine.on_answer(UNNAMED, 1.0) == []
    assert asked_next(machine) == {"ticker": ("A-USD",)}
    assert asked(machine.on_answer(acknowledged(BEAT, {"ticker": ("A-USD",)}), 2.0)) == {"ticker": ("B-USD", "C-USD")}


@pytest.mark.parametrize("refused", [REFUSED, UNNAMED, Refused("no such channel: heartbeats", "")])
def test_refused_heartbeats_cost_no_product(refused: Refused) -> None:
    machine = subscription(channels=("ticker",))
    machine.start(0.0)
    assert machine.on_answer(refused, 0.1) == [Rejection("heartbeats", None, refused.message)]
    assert asked_next(machine) == {"ticker": PRODUCTS}
    assert machine.on_answer(acknowledged({"ticker": PRODUCTS}), 1.0) == [Settled({"ticker": PRODUCTS}, {})]


@pytest.mark.parametrize("channels", [("ticker",), ("ticker", "heartbeats")])
def test_heartbeats_alone_are_nothing(channels: tuple[str, ...]) -> None:
    machine = subscription(("BTC-USD",), channels)
    machine.start(0.0)
    asked(machine.on_answer(acknowledged(BEAT), 1.0))
    assert machine.on_answer(REFUSED, 1.1) == [
        Rejection("ticker", None, REFUSED.message),
        Rejection(None, "BTC-USD", REFUSED.message),
        NothingLeft({"BTC-USD": REFUSED.message}),
    ]
    assert machine.deadline == inf


def test_unless_nothing_else_was_asked_for() -> None:
    machine = subscription(("BTC-USD",), ("heartbeats",))
    assert asked(machine.start(0.0)) == BEAT
    assert machine.on_answer(acknowledged(BEAT), 0.1) == [Settled(BEAT, {})]


def test_where_nothing_but_heartbeats_is_worth_asking_everything_is() -> None:
    machine = subscription(channels=("ticker",), allow=lambda channel, _product: channel == "heartbeats")
    assert asked(machine.start(0.0)) == BEAT
    assert asked(machine.on_answer(acknowledged(BEAT), 1.0)) == {"ticker": PRODUCTS}


def test_what_coinbase_drops_later_is_asked_for_again_a_channel_a_message() -> None:
    machine = subscription()
    now, actions, everything = 0.0, machine.start(0.0), [BEAT, {"ticker": PRODUCTS}, {"market_trades": PRODUCTS}]
    for count in range(1, len(everything) + 1):
        now += 1.0
        actions = machine.on_answer(acknowledged(*everything[:count]), now)
    assert isinstance(actions[0], Settled)
    assert asked(machine.on_answer(acknowledged(BEAT), 100.0)) == {"ticker": PRODUCTS}
    assert asked(machine.on_answer(acknowledged(BEAT, {"ticker": PRODUCTS}), 101.0)) == {"market_trades": PRODUCTS}


def test_an_error_that_answers_nothing_is_passed_on() -> None:
    machine = subscription(("BTC-USD",), ("heartbeats",))
    machine.start(0.0)
    machine.on_answer(acknowledged(BEAT), 0.1)
    assert machine.on_answer(UNNAMED, 9.0) == [Unexplained(UNNAMED)]


class AdvancedTrade:
    """A model: a message with a bad product is refused, in few words, or taken without it; so is a bad channel."""

    def __init__(self, bad: set[tuple[str, str]], *, is_silent: bool) -> None:
        self.held: set[tuple[str, str]] = set()
        self._bad = bad
        self._is_silent = is_silent

    def answer(self, request: bytes) -> Answer:
        message: dict[str, Any] = msgspec.json.decode(request)
        channel = message["channel"]
        pairs = {(channel, product) for product in message.get("product_ids", ["heartbeats"])}
        assert pairs
        if pairs & self._bad and not self._is_silent:
            return UNNAMED
        self.held |= pairs - self._bad
        return Acknowledged(frozenset(self.held))


@given(
    products=st.lists(st.from_regex(r"[A-D][0-9]-USD", fullmatch=True), min_size=1, max_size=8, unique=True),
    is_silent=st.booleans(),
    data=st.data(),
)
def test_whatever_is_refused_the_rest_is_subscribed(
    products: list[str], *, is_silent: bool, data: st.DataObject
) -> None:
    every = {(channel, product) for channel in CHANNELS for product in products} | {("heartbeats", "heartbeats")}
    bad = data.draw(st.sets(st.sampled_from(sorted(every))))
    feed = AdvancedTrade(bad, is_silent=is_silent)
    machine = subscription(tuple(products))
    verdicts = verdicts_of(machine, lambda wanted: feed.answer(ADVANCED.encode("subscribe", wanted)), data)

    good = every - bad
    served = {product for channel, product in good if channel != "heartbeats"}
    rejected = {v.product for v in verdicts if isinstance(v, Rejection) and v.channel is None}
    assert rejected == (set() if is_silent else set(products) - served)
    if served or is_silent:
        assert feed.held == good
        assert isinstance(verdicts[-1], Settled)
        missing = {(name, p) for name, ids in verdicts[-1].missing.items() for p in ids}
        assert missing == (bad if is_silent else set())
    else:
        assert isinstance(verdicts[-1], NothingLeft)
        assert set(verdicts[-1].reasons) == set(products)
