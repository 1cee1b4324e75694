"""The subscription's state machine while what is wanted changes, on both feeds."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.actions import Action, NothingLeft, Send, Settled, Unexplained
from rxbridge.coinbase.advanced_protocol import ADVANCED
from rxbridge.coinbase.answers import Acknowledged, Answer, Pair, Refused
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.rejections import Rejection, Rejections
from rxbridge.coinbase.subscription import Subscription
from rxbridge.coinbase.wanted import Wanted, pairs_of

BTC, ETH, SOL = "BTC-USD", "ETH-USD", "SOL-USD"
UNNAMED = Refused("failure to subscribe", "")


def subscription(products: tuple[str, ...], *channels: str, **options: Any) -> Subscription:
    settings: dict[str, Any] = {"protocol": EXCHANGE, "acknowledge_seconds": 5.0, "pause_seconds": 0.25} | options
    return Subscription(products, channels or ("ticker",), **settings)


def acknowledged(*requests: Wanted) -> Acknowledged:
    return Acknowledged(frozenset((name, p) for wanted in requests for name, ids in wanted.items() for p in ids))


def everything(*products: str) -> dict[str, tuple[str, ...]]:
    return {"ticker": products, "heartbeat": products}


def sorted_everything(*products: str) -> dict[str, tuple[str, ...]]:
    return {"heartbeat": products, "ticker": products}


def settled_on(*products: str) -> Subscription:
    machine = subscription(products)
    machine.start(0.0)
    assert machine.on_answer(acknowledged(everything(*products)), 0.1) == [Settled(everything(*products), {})]
    return machine


def test_what_has_come_is_asked_for_before_what_has_gone_is_unsubscribed() -> None:
    machine = settled_on(BTC, ETH)
    assert machine.change((ETH, SOL), 10.0) == [Send(everything(SOL), repeated=False)]
    assert machine.on_answer(acknowledged(everything(BTC, ETH, SOL)), 10.1) == []
    assert machine.deadline == 10.25
    assert machine.on_time(10.25) == [Send(sorted_everything(BTC), repeated=False, verb="unsubscribe")]
    assert machine.on_answer(acknowledged(everything(ETH, SOL)), 10.3) == [Settled(everything(ETH, SOL), {})]
    assert machine.deadline == inf


def test_advanced_trade_is_told_channel_by_channel_and_keeps_its_heartbeat() -> None:
    beat = {"heartbeats": ("heartbeats",)}
    machine = subscription((BTC, ETH), "ticker", "market_trades", protocol=ADVANCED)
    machine.start(0.0)
    machine.on_answer(acknowledged(beat), 1.0)
    held: dict[str, tuple[str, ...]] = {**beat, "ticker": (BTC, ETH)}
    machine.on_answer(acknowledged(held), 2.0)
    held["market_trades"] = (BTC, ETH)
    machine.on_answer(acknowledged(held), 3.0)
    assert machine.change((BTC,), 10.0) == [Send({"market_trades": (ETH,)}, repeated=False, verb="unsubscribe")]
    held["market_trades"] = (BTC,)
    assert machine.on_answer(acknowledged(held), 11.0) == [Send({"ticker": (ETH,)}, repeated=False, verb="unsubscribe")]
    held["ticker"] = (BTC,)
    (settled,) = machine.on_answer(acknowledged(held), 12.0)
    assert settled == Settled({"ticker": (BTC,), "market_trades": (BTC,), **beat}, {})


def test_what_shares_its_frames_with_a_product_that_stays_is_not_unsubscribed() -> None:
    beat = {"heartbeats": ("heartbeats",)}
    both = (BTC, "BTC-USDC")
    machine = subscription(both, protocol=ADVANCED)
    machine.start(0.0)
    machine.on_answer(acknowledged(beat), 1.0)
    machine.on_answer(acknowledged(beat, {"ticker": both}), 2.0)
    assert machine.change((BTC,), 10.0) == [Settled({"ticker": (BTC,), **beat}, {})]


def test_a_change_back_while_a_message_is_under_way_is_no_change_in_the_end() -> None:
    machine = settled_on(BTC, ETH)
    assert machine.change((BTC,), 10.0) == [Send(sorted_everything(ETH), repeated=False, verb="unsubscribe")]
    assert machine.change((BTC, ETH), 10.1) == []
    assert machine.on_answer(acknowledged(everything(BTC)), 10.2) == []
    assert machine.on_time(10.25) == [Send(everything(ETH), repeated=False)]
    assert machine.on_answer(acknowledged(everything(BTC, ETH)), 10.3) == [Settled(everything(BTC, ETH), {})]


def test_what_is_wanted_no_longer_before_it_is_acknowledged_is_unsubscribed_then() -> None:
    machine = settled_on(BTC)
    assert machine.change((BTC, ETH), 10.0) == [Send(everything(ETH), repeated=False)]
    assert machine.change((BTC,), 10.1) == []
    assert machine.on_answer(acknowledged(everything(BTC, ETH)), 11.0) == [
        Send(sorted_everything(ETH), repeated=False, verb="unsubscribe")
    ]


def test_the_same_products_in_another_order_are_no_change() -> None:
    machine = settled_on(BTC, ETH)
    assert machine.change((ETH, BTC), 10.0) == []
    assert machine.deadline == inf


def test_what_does_not_end_is_said_twice_and_then_reported() -> None:
    machine = settled_on(BTC, ETH)
    machine.change((BTC,), 10.0)
    assert machine.on_time(15.0) == [Send(sorted_everything(ETH), repeated=True, verb="unsubscribe")]
    assert machine.on_time(20.0) == [Settled(everything(BTC), {}, sorted_everything(ETH))]
    assert machine.deadline == inf
    assert machine.on_answer(acknowledged(everything(BTC)), 60.0) == [Settled(everything(BTC), {})]


def test_a_product_that_cannot_be_unsubscribed_does_not_keep_the_others() -> None:
    machine = settled_on(BTC, ETH, SOL)
    machine.change((BTC,), 10.0)
    refused = Refused("Failed to unsubscribe", "ETH-USD is not a valid product")
    assert machine.on_answer(refused, 11.0) == [Send(sorted_everything(ETH), repeated=False, verb="unsubscribe")]
    assert machine.on_answer(refused, 12.0) == [Send({"heartbeat": (ETH,)}, repeated=False, verb="unsubscribe")]
    assert machine.on_answer(refused, 13.0) == [Send({"ticker": (ETH,)}, repeated=False, verb="unsubscribe")]
    assert machine.on_answer(refused, 14.0) == [Send(sorted_everything(SOL), repeated=False, verb="unsubscribe")]
    assert machine.on_answer(acknowledged(everything(BTC, ETH)), 15.0) == [
        Settled(everything(BTC), {}, sorted_everything(ETH))
    ]


def test_what_was_never_acknowledged_may_be_subscribed_all_the_same_and_is_unsubscribed() -> None:
    machine = settled_on(BTC)
    machine.change((BTC, ETH), 10.0)
    machine.change((BTC,), 11.0)
    assert machine.on_time(15.0) == [Send(sorted_everything(ETH), repeated=False, verb="unsubscribe")]
    assert machine.on_answer(acknowledged(everything(BTC)), 15.1) == [Settled(everything(BTC), {})]


def test_a_refusal_of_what_is_no_longer_wanted_costs_nothing_that_is() -> None:
    machine = settled_on(BTC)
    machine.change((BTC, ETH, SOL), 10.0)
    assert machine.change((BTC, SOL), 10.1) == []
    assert machine.on_answer(UNNAMED, 11.0) == [Send(everything(SOL), repeated=False)]


def test_an_error_after_a_change_is_over_is_passed_on() -> None:
    machine = settled_on(BTC, ETH)
    machine.change((BTC,), 10.0)
    machine.on_answer(acknowledged(everything(BTC)), 10.1)
    assert machine.on_answer(UNNAMED, 11.0) == [Unexplained(UNNAMED)]


def test_a_renewal_ends_a_product_on_one_channel_and_asks_for_it_again() -> None:
    machine = settled_on(BTC, ETH)
    assert machine.renew("ticker", [ETH, SOL], 10.0) == [Send({"ticker": (ETH,)}, repeated=False, verb="unsubscribe")]
    left: dict[str, tuple[str, ...]] = {"ticker": (BTC,), "heartbeat": (BTC, ETH)}
    assert machine.on_answer(acknowledged(left), 10.1) == []
    assert machine.deadline == 10.25
    assert machine.on_time(10.25) == [Send({"ticker": (ETH,)}, repeated=False)]
    assert machine.on_answer(acknowledged(everything(BTC, ETH)), 10.3) == [Settled(everything(BTC, ETH), {})]
    assert machine.deadline == inf


def test_a_renewal_waits_for_the_messages_before_and_passes_over_what_begins_anyway() -> None:
    machine = subscription((BTC,))
    machine.start(0.0)
    assert machine.renew("ticker", [BTC], 0.1) == []
    machine.on_answer(acknowledged(everything(BTC)), 0.2)
    assert machine.change((BTC, ETH), 1.0) == [Send(everything(ETH), repeated=False)]
    assert machine.renew("ticker", [BTC, ETH], 1.1) == []
    assert machine.on_answer(acknowledged(everything(BTC, ETH)), 1.3) == [
        Send({"ticker": (BTC,)}, repeated=False, verb="unsubscribe")
    ]


def test_a_product_that_does_not_end_is_asked_for_all_the_same() -> None:
    machine = settled_on(BTC, ETH)
    machine.renew("ticker", [ETH], 10.0)
    assert machine.on_time(15.0) == [Send({"ticker": (ETH,)}, repeated=True, verb="unsubscribe")]
    assert machine.on_time(20.0) == [Send({"ticker": (ETH,)}, repeated=False)]
    assert machine.on_answer(acknowledged(everything(BTC, ETH)), 20.1) == [Settled(everything(BTC, ETH), {})]


def test_a_product_that_may_not_end_is_asked_for_all_the_same() -> None:
    machine = settled_on(BTC, ETH)
    machine.renew("ticker", [ETH], 10.0)
    assert machine.on_answer(UNNAMED, 11.0) == [Send({"ticker": (ETH,)}, repeated=False)]


def test_an_end_that_is_told_late_is_not_brought_about_twice() -> None:
    machine = settled_on(BTC)
    machine.renew("ticker", [BTC], 10.0)
    assert machine.on_time(15.0) == [Send({"ticker": (BTC,)}, repeated=True, verb="unsubscribe")]
    machine = settled_on(BTC)
    machine.renew("ticker", [BTC], 10.0)
    machine.renew("ticker", [BTC], 10.1)
    assert machine.on_answer(acknowledged({"heartbeat": (BTC,)}), 14.9) == [Send({"ticker": (BTC,)}, repeated=False)]
    assert machine.on_answer(acknowledged(everything(BTC)), 15.0) == [Settled(everything(BTC), {})]
    assert machine.deadline == inf


def test_what_goes_while_it_is_renewed_is_not_asked_for_again() -> None:
    machine = settled_on(BTC, ETH)
    machine.renew("ticker", [ETH], 10.0)
    assert machine.change((BTC,), 10.1) == []
    left: dict[str, tuple[str, ...]] = {"ticker": (BTC,), "heartbeat": (BTC, ETH)}
    assert machine.on_answer(acknowledged(left), 10.3) == [
        Send({"heartbeat": (ETH,)}, repeated=False, verb="unsubscribe")
    ]


def test_products_that_share_their_frames_are_renewed_together() -> None:
    beat = {"heartbeats": ("heartbeats",)}
    both = (BTC, "BTC-USDC")
    machine = subscription((*both, ETH), "level2", protocol=ADVANCED)
    machine.start(0.0)
    machine.on_answer(acknowledged(beat), 1.0)
    machine.on_answer(acknowledged(beat, {"level2": (*both, ETH)}), 2.0)
    (send,) = machine.renew("level2", [BTC], 10.0)
    assert send == Send({"level2": both}, repeated=False, verb="unsubscribe")
    assert machine.on_answer(acknowledged(beat, {"level2": (ETH,)}), 11.0) == [Send({"level2": both}, repeated=False)]


def test_what_was_given_up_is_asked_for_when_it_is_to_be_renewed() -> None:
    machine = subscription((BTC, ETH))
    machine.start(0.0)
    held: dict[str, tuple[str, ...]] = {"ticker": (BTC,), "heartbeat": (BTC, ETH)}
    assert machine.on_answer(acknowledged(held), 0.1) == []
    machine.on_time(5.0)
    machine.on_time(10.0)
    assert machine.deadline == inf
    assert machine.renew("ticker", [ETH], 60.0) == [Send({"ticker": (ETH,)}, repeated=False)]


class Coinbase:
    """A model: one bad pair voids a message; a message or its answer may be lost; all that is held is listed."""

    def __init__(
        self, protocol: FeedProtocol, channels: tuple[str, str], bad: set[Pair], *, names_products: bool
    ) -> None:
        self.held: set[Pair] = set()
        self.begun: Counter[Pair] = Counter()
        self._channels = channels
        self._protocol = protocol
        self._bad = bad
        self._names_products = names_products

    def take(self, send: Send) -> Answer:
        """Its answer to a message, read from what was written for the wire."""
        asked = {(name, self._protocol.served_as(product)) for name, product in self._read(send)}
        assert asked
        if send.verb == "unsubscribe":
            self.held -= asked
        elif wrong := sorted(asked & self._bad):
            product = wrong[0][1]
            # It names only products that are bad everywhere.
            named = self._names_products and all((channel, product) in self._bad for channel in self._channels)
            return Refused("Failed to subscribe", f"{product} is not a valid product" if named else "no")
        else:
            self.begun.update(asked - self.held)
            self.held |= asked
        answer = self._protocol.answers.answer_in(self._acknowledgement())
        assert answer is not None
        return answer

    def _read(self, send: Send) -> list[Pair]:
        message = msgspec.json.decode(self._protocol.encode(send.verb, send.wanted))
        assert message["type"] == send.verb
        if self._protocol is ADVANCED:
            channel = message["channel"]
            return [(channel, product) for product in message.get("product_ids", [channel])]
        return [(one["name"], product) for one in message["channels"] for product in one["product_ids"]]

    def _acknowledgement(self) -> bytes:
        listed: dict[str, list[str]] = {}
        for channel, product in sorted(self.held):
            listed.setdefault(channel, []).append(product)
        if self._protocol is ADVANCED:
            return msgspec.json.encode({"channel": "subscriptions", "events": [{"subscriptions": listed}]})
        channels = [{"name": name, "product_ids": ids} for name, ids in listed.items()]
        return msgspec.json.encode({"type": "subscriptions", "channels": channels})


class Conversation:
    """The machine and the model, with changes, losses and delays as they are drawn."""

    def __init__(self, protocol: FeedProtocol, channels: tuple[str, str], data: st.DataObject) -> None:
        self._data = data
        self._products = st.lists(
            st.sampled_from(["A-USD", "A-USDC", "B-USD", "C-USD", "D-EUR", "E-EUR"]), min_size=1, unique=True
        )
        self.protocol, self.channels = protocol, channels
        served = ("A-USD", "B-USD", "C-USD", "D-EUR", "E-EUR")
        every = [(channel, product) for channel in channels for product in served]
        self.bad = data.draw(st.sets(st.sampled_from(every)))
        self.coinbase = Coinbase(protocol, channels, self.bad, names_products=data.draw(st.booleans()))
        self.rejections = Rejections(clock=lambda: 0.0)
        self.wanted = tuple(data.draw(self._products))
        self.heard: set[Pair] = set()
        self.to_begin: dict[Pair, int] = {}
        self.changes_left = 5
        self.now, self._sent_at = 0.0, -inf
        self.last: Action | None = None
        self.machine = Subscription(
            self.wanted,
            channels,
            protocol=protocol,
            acknowledge_seconds=5.0,
            pause_seconds=0.25,
            allow=self.rejections.allow,
        )

    def hold(self) -> None:
        """Go on until there is nothing left to do, or nothing left to have."""
        actions = self.machine.start(self.now)
        while True:
            send = self._perform(actions)
            if isinstance(self.last, NothingLeft):
                return
            if send is not None:
                actions = self._exchange(send)
            elif self.machine.deadline < inf:
                self.now = max(self.now, self.machine.deadline)
                actions = self.machine.on_time(self.now)
            elif self.changes_left:
                actions = self._change()
            else:
                return

    def _perform(self, actions: list[Action]) -> Send | None:
        sends = [action for action in actions if isinstance(action, Send)]
        assert len(sends) <= 1
        for action in actions:
            self.last = action
            if isinstance(action, Rejection):
                self.rejections.remember(action)
        return sends[0] if sends else None

    def _exchange(self, send: Send) -> list[Action]:
        assert self.now >= self._sent_at + 0.25, "too soon after the message before"
        self._sent_at = self.now
        if send.verb == "unsubscribe":
            given_up = {(channel, self.protocol.served_as(product)) for channel, product in pairs_of(send.wanted)}
            assert given_up.isdisjoint(self.expected() - self.to_begin.keys())
            self.heard -= given_up
        lost = "none" if send.repeated else self._data.draw(st.sampled_from(["none", "none", "message", "answer"]))
        answer = None if lost == "message" else self.coinbase.take(send)
        actions: list[Action] = []
        while self.changes_left and self._data.draw(st.booleans()):
            actions += self._change()
        assert not actions, "a second message before the first is answered"
        self.now += self._data.draw(st.sampled_from([0.0, 0.1, 1.0]))
        if answer is None or (lost == "answer" and isinstance(answer, Acknowledged)):
            return []
        if isinstance(answer, Acknowledged):
            self.heard = set(answer.pairs)
        return self.machine.on_answer(answer, self.now)

    def _change(self) -> list[Action]:
        self.changes_left -= 1
        if self._data.draw(st.booleans()):
            return self._renew()
        self.wanted = tuple(self._data.draw(self._products))
        self.rejections.forget_all_but(self.wanted)
        actions = self.machine.change(self.wanted, self.now)
        self.to_begin = {pair: times for pair, times in self.to_begin.items() if pair in self.expected()}
        return actions

    def _renew(self) -> list[Action]:
        channel, products = self.channels[0], self._data.draw(self._products)
        for product in set(map(self.protocol.served_as, products)):
            if (channel, product) not in self.heard & self.expected():
                continue
            self.to_begin[channel, product] = self.coinbase.begun[channel, product] + 1
        return self.machine.renew(channel, products, self.now)

    def expected(self) -> set[Pair]:
        """What is wanted and not refused, as Coinbase calls it."""
        served_as, heartbeat = self.protocol.served_as, self.protocol.heartbeat
        pairs = {(channel, served_as(product)) for channel in self.channels for product in self.wanted} - self.bad
        if self.protocol.heartbeat_has_products:
            return pairs | {(heartbeat, product) for _, product in pairs}
        return pairs | {(heartbeat, heartbeat)}


@pytest.mark.parametrize(
    ("protocol", "channels"), [(EXCHANGE, ("ticker", "matches")), (ADVANCED, ("ticker", "market_trades"))]
)
@given(data=st.data())
def test_whatever_changes_it_ends_with_what_is_wanted_and_not_refused_and_renewed_what_was_to_be(
    protocol: FeedProtocol, channels: tuple[str, str], data: st.DataObject
) -> None:
    conversation = Conversation(protocol, channels, data)
    conversation.hold()
    served = {product for channel, product in conversation.expected() if channel in channels}
    if isinstance(conversation.last, NothingLeft):
        assert not served
    else:
        assert served
        assert conversation.coinbase.held == conversation.expected()
        assert isinstance(conversation.last, Settled)
        assert not conversation.last.missing
        assert not conversation.last.lingering
        for pair, times in conversation.to_begin.items():
            assert conversation.coinbase.begun[pair] >= times
