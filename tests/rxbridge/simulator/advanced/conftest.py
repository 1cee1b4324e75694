"""Clients that speak Advanced Trade to a simulator."""

import json
import re
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

Frame = dict[str, Any]

NUMBER = re.compile(r'("sequence_num"\s*:\s*)\d+')


class AdvancedClient:
    """Says and hears what a client of Advanced Trade does; each of its frames must have the next number.

    Where a fault is at work, `in_order=False` takes whatever number comes.
    """

    def __init__(self, client: Any, *, in_order: bool = True) -> None:
        self.client = client
        self._in_order = in_order
        self.texts: list[str] = []
        self.frames: list[Frame] = []
        self._numbers = count()

    def subscribe(self, channel: str, *products: str, action: str = "subscribe") -> None:
        message: Frame = {"type": action, "channel": channel}
        self.client.say(message | {"product_ids": list(products)} if products else message)

    def unsubscribe(self, channel: str, *products: str) -> None:
        self.subscribe(channel, *products, action="unsubscribe")

    def receive(self) -> Frame:
        text = self.client.socket.recv()
        frame = json.loads(text)
        self.texts.append(text)
        self.frames.append(frame)
        if self._in_order and frame.get("type") != "error":
            assert frame["sequence_num"] == next(self._numbers)
        return frame

    def receive_until(self, condition: Callable[[Frame], bool]) -> list[Frame]:
        """Everything up to the first frame that fulfills the condition, which is the last of them."""
        received = [self.receive()]
        while not condition(received[-1]):
            received.append(self.receive())
        return received

    def receive_acknowledgement(self) -> dict[str, list[str]]:
        """The next one: the products by channel, sorted."""
        frame = self.receive_until(lambda frame: frame["channel"] == "subscriptions")[-1]
        subscribed = frame["events"][0]["subscriptions"]
        return {channel: sorted(products) for channel, products in subscribed.items()}

    @property
    def numbers(self) -> list[int]:
        """Those of all frames that came."""
        return [frame["sequence_num"] for frame in self.frames if "sequence_num" in frame]

    def expect_silence(self, seconds: float) -> None:
        self.client.expect_silence(seconds)


def without_number(text: str) -> str:
    """The text with no number in the place of its sequence_num."""
    return NUMBER.sub(r"\1", text, count=1)


def trades_of(frames: list[Frame], product: str) -> list[int]:
    """The trade ids of a product, each frame put in order."""
    return [
        int(trade["trade_id"])
        for frame in frames
        if frame.get("channel") == "market_trades"
        for event in frame["events"]
        for trade in reversed(event["trades"])
        if trade["product_id"] == product
    ]


@pytest.fixture
def converse(connect: Callable[..., Any]) -> Callable[..., AdvancedClient]:
    """Opens clients that speak Advanced Trade."""
    return lambda simulator, **options: AdvancedClient(connect(simulator), **options)
