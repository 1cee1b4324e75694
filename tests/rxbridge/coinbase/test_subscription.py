"""The subscription's state machine, without a socket: answers and time in, messages and verdicts out."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.actions import Action, NothingLeft, Send, Settled, Unexplained
from rxbridge.coinbase.answers import Acknowledged, Refused
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.coinbase.rejections import Rejection
from rxbridge.coinbase.subscription import Subscription
from rxbridge.coinbase.wanted import Wanted
from tests.rxbridge.coinbase.negotiating import verdicts_of

PRODUCTS = ("BTC-USD", "ETH-USD", "FOO-USD")
INVALID = Refused("Failed to subscribe", "FOO-USD is not a valid product")
UNNAMED = Refused("Failed to subscribe", "")


def subscription(products: tuple[str, ...] = PRODUCTS, *channels: str, **options: Any) -> Subscription:
    settings: dict[str, Any] = {"protocol": EXCHANGE, "acknowledge_seconds": 5.0, "pause_seconds": 0.25} | options
    return Subscription(products, channels or ("ticker", "matches"), **settings)


def acknowledged(*requests: Wanted) -> Acknowledged:
    return Acknowledged(frozenset((name, p) for wanted in requests for name, ids in wanted.items() for p in ids))


def the_send(actions: list[Action]) -> Send:
    (send,) = actions
    assert isinstance(send, Send)
    return send


def the_next_send(machine: Subscription) -> Send:
    return the_send(machine.on_time(machine.deadline))


def test_the_first_message_has_the_ids_inside_each_channel_and_the_heartbeat() -> None:
    send = the_send(subscription(("BTC-USD", "ETH-USD")).start(0.0))
    ids = ["BTC-USD", "ETH-USD"]
    assert msgspec.json.decode(EXCHANGE.encode("subscribe", send.wanted)) == {
        "type": "subscribe",
        "channels": [{"name": name, "product_ids": ids} for name in ("ticker", "matches", "heartbeat")],
    }


def test_the_heartbeat_is_not_asked_for_twice() -> None:
    send = the_send(subscription(("BTC-USD",), "heartbeat", "ticker").start(0.0))
    assert dict(send.wanted) == {"heartbeat": ("BTC-USD",), "ticker": ("BTC-USD",)}


def test_an_acknowledgement_of_everything_settles_it() -> None:
    machine = subscription()
    wanted = the_send(machine.start(0.0)).wanted
    assert machine.on_answer(acknowledged(wanted), 0.1) == [Settled(wanted, {})]
    assert machine.deadline == inf
    assert machine.on_answer(acknowledged(wanted), 0.2) == []


def test_what_an_acknowledgement_lacks_is_asked_for_once_more_then_reported() -> None:
    machine = subscription(("BTC-USD", "ETH-USD"))
    wanted = the_send(machine.start(0.0)).wanted
    partly = acknowledged({"ticker": ("ETH-USD", "BTC-USD"), "heartbeat": ("BTC-USD",)})
    assert machine.on_answer(partly, 0.1) == []
    assert machine.deadline == 5.0
    assert machine.on_time(4.9) == []
    again = the_send(machine.on_time(5.0))
    missing = {"matches": ("BTC-USD", "ETH-USD"), "heartbeat": ("ETH-USD",)}
    assert again == Send(missing, repeated=True)
    held = {"ticker": ("BTC-USD", "ETH-USD"), "heartbeat": ("BTC-USD",)}
    assert machine.on_time(10.0) == [Settled(held, missing)]
    assert machine.deadline == inf
    late = machine.on_answer(acknowledged(wanted), 60.0)
    assert late == [Settled(wanted, {})]


def test_an_acknowledgement_in_parts_is_one() -> None:
    machine = subscription(("BTC-USD",))
    wanted = the_send(machine.start(0.0)).wanted
    assert machine.on_answer(acknowledged({"ticker": ("BTC-USD",)}), 0.1) == []
    assert machine.on_answer(acknowledged(wanted), 0.2) == [Settled(wanted, {})]


def test_silence_is_asked_again_once_and_reported() -> None:
    machine = subscription()
    wanted = the_send(machine.start(0.0)).wanted
    assert the_send(machine.on_time(5.0)) == Send(wanted, repeated=True)
    assert machine.on_time(10.0) == [Settled({}, wanted)]


def test_nobody_asks_again_while_the_answer_waits_behind_a_snapshot() -> None:
    machine = subscription()
    wanted = the_send(machine.start(0.0)).wanted
    for second in (5.0, 10.0, 15.0):
        assert machine.deadline == second
        assert machine.on_time(second, is_receiving=True) == []
    assert the_send(machine.on_time(20.0)) == Send(wanted, repeated=True)
    assert machine.on_time(25.0, is_receiving=True) == []
    assert machine.on_answer(acknowledged(wanted), 29.0) == [Settled(wanted, {})]


def test_a_snapshot_delays_no_message_that_is_due() -> None:
    machine = subscription()
    machine.start(0.0)
    machine.on_answer(INVALID, 0.1)
    assert the_send(machine.on_time(0.25, is_receiving=True))


def test_what_is_acknowledged_before_it_is_asked_for_again_is_not_asked_for() -> None:
    machine = subscription(("BTC-USD",), "ticker", acknowledge_seconds=0.1)
    wanted = the_send(machine.start(0.0)).wanted
    assert machine.on_time(0.1) == []
    assert machine.deadline == 0.25
    assert machine.on_answer(acknowledged(wanted), 0.2) == [Settled(wanted, {})]
    assert machine.deadline == inf


def test_a_named_product_is_left_out_and_the_rest_is_asked_for_after_a_pause() -> None:
    machine = subscription()
    machine.start(0.0)
    assert machine.on_answer(INVALID, 0.1) == [Rejection(None, "FOO-USD", INVALID.reason)]
    assert machine.deadline == 0.25
    assert machine.on_time(0.2) == []
    send = the_send(machine.on_time(0.25))
    ids = ("BTC-USD", "ETH-USD")
    assert dict(send.wanted) == {"ticker": ids, "matches": ids, "heartbeat": ids}
    assert machine.on_answer(acknowledged(send.wanted), 0.3) == [Settled(send.wanted, {})]


def test_a_refused_channel_is_left_out_with_its_reason() -> None:
    reason = "level2, level3, and full channels now require authentication."
    machine = subscription(PRODUCTS, "ticker", "level2")
    machine.start(0.0)
    assert machine.on_answer(Refused("Failed to subscribe", reason), 0.1) == [Rejection("level2", None, reason)]
    assert set(the_next_send(machine).wanted) == {"ticker", "heartbeat"}


@pytest.mark.parametrize("reason", ["", " is not a valid product", "a ticker failed", "XRP-USD is not a valid product"])
def test_a_refusal_that_names_nothing_of_ours_is_traced_by_halves(reason: str) -> None:
    machine = subscription(("A-USD", "B-USD", "C-USD", "D-USD"), "ticker")
    the_send(machine.start(0.0))
    unnamed = Refused("Failed to subscribe", reason)
    assert machine.on_answer(unnamed, 0.0) == []
    first = the_next_send(machine)
    assert dict(first.wanted) == {"ticker": ("A-USD", "B-USD"), "heartbeat": ("A-USD", "B-USD")}
    second = the_send(machine.on_answer(acknowledged(first.wanted), 1.0))
    assert dict(second.wanted) == {"ticker": ("C-USD", "D-USD"), "heartbeat": ("C-USD", "D-USD")}


def test_nothing_left_ends_it_with_every_reason() -> None:
    machine = subscription(("FOO-USD", "BAR-USD"))
    machine.start(0.0)
    machine.on_answer(INVALID, 0.0)
    the_next_send(machine)
    bar = "BAR-USD is not a valid product"
    assert machine.on_answer(Refused("Failed to subscribe", bar), 1.0) == [
        Rejection(None, "BAR-USD", bar),
        NothingLeft({"FOO-USD": INVALID.reason, "BAR-USD": bar}),
    ]
    assert machine.deadline == inf


def test_the_only_channel_refused_is_every_product_refused() -> None:
    reason = "full channels now require authentication"
    machine = subscription(("BTC-USD",), "full")
    machine.start(0.0)
    assert machine.on_answer(Refused("Failed to subscribe", reason), 0.0) == [
        Rejection("full", None, reason),
        Rejection(None, "BTC-USD", reason),
        NothingLeft({"BTC-USD": reason}),
    ]


def test_an_error_that_answers_nothing_is_passed_on() -> None:
    machine = subscription(("BTC-USD",))
    wanted = the_send(machine.start(0.0)).wanted
    machine.on_answer(acknowledged(wanted), 0.1)
    assert machine.on_answer(UNNAMED, 9.0) == [Unexplained(UNNAMED)]
    assert machine.deadline == inf


def test_what_coinbase_drops_later_is_asked_for_again() -> None:
    machine = subscription(("BTC-USD", "ETH-USD"), "ticker")
    wanted = the_send(machine.start(0.0)).wanted
    machine.on_answer(acknowledged(wanted), 0.1)
    send = the_send(machine.on_answer(acknowledged({**wanted, "ticker": ("ETH-USD",)}), 100.0))
    assert dict(send.wanted) == {"ticker": ("BTC-USD",)}
    assert machine.on_answer(acknowledged(wanted), 101.0) == [Settled(wanted, {})]


def test_what_is_not_worth_asking_is_left_out() -> None:
    machine = subscription(PRODUCTS, allow=lambda channel, product: product != "FOO-USD" and channel != "matches")
    ids = ("BTC-USD", "ETH-USD")
    assert dict(the_send(machine.start(0.0)).wanted) == {"ticker": ids, "heartbeat": ids}


def test_where_nothing_is_worth_asking_everything_is() -> None:
    machine = subscription(("FOO-USD",), "ticker", allow=lambda channel, _product: channel == "heartbeat")
    assert dict(the_send(machine.start(0.0)).wanted) == {"ticker": ("FOO-USD",), "heartbeat": ("FOO-USD",)}


class Coinbase:
    """A model: one bad pair voids the message; acknowledgements list everything, sometimes in vain."""

    def __init__(self, bad: set[tuple[str, str]], *, names_products: bool) -> None:
        self.held: set[tuple[str, str]] = set()
        self._bad = bad
        self._names_products = names_products

    def answer(self, request: bytes) -> Acknowledged | Refused:
        channels = msgspec.json.decode(request)["channels"]
        asked = {(channel["name"], product) for channel in channels for product in channel["product_ids"]}
        assert asked
        if wrong := sorted(asked & self._bad):
            product = wrong[0][1]
            # It names only products that are bad everywhere.
            named = self._names_products and all((name, product) in self._bad for name in CHANNELS)
            return Refused("Failed to subscribe", f"{product} is not a valid product" if named else "no")
        self.held |= asked
        return Acknowledged(frozenset(self.held))


CHANNELS = ("ticker", "matches", "heartbeat")
SOME_PRODUCTS = st.lists(st.from_regex(r"[A-D][0-9]-USD", fullmatch=True), min_size=1, max_size=12, unique=True)


@given(products=SOME_PRODUCTS, names_products=st.booleans(), data=st.data())
def test_whatever_is_refused_the_rest_is_subscribed(
    products: list[str], *, names_products: bool, data: st.DataObject
) -> None:
    every = {(channel, product) for channel in CHANNELS for product in products}
    bad = data.draw(st.sets(st.sampled_from(sorted(every))))
    coinbase = Coinbase(bad, names_products=names_products)
    machine = subscription(tuple(products), "ticker", "matches")
    verdicts = verdicts_of(machine, lambda wanted: coinbase.answer(EXCHANGE.encode("subscribe", wanted)), data)

    served = {product for channel, product in every - bad if channel != "heartbeat"}
    rejected = {v.product for v in verdicts if isinstance(v, Rejection) and v.channel is None}
    assert rejected == set(products) - served
    if served:
        # A heartbeat may have been subscribed before the last channel of its product was refused.
        assert {pair for pair in coinbase.held if pair[1] in served} == {p for p in every - bad if p[1] in served}
        assert isinstance(verdicts[-1], Settled)
        assert not verdicts[-1].missing
    else:
        assert isinstance(verdicts[-1], NothingLeft)
        assert set(verdicts[-1].reasons) == set(products)
