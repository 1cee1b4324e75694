"""An address that speaks the other feed's protocol: what is wrong, and what to do, is said at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rxbridge.channels import FEED_URLS, FeedName
from rxbridge.coinbase import frames
from rxbridge.coinbase.advanced_protocol import ADVANCED
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.errors import SubscriptionRejected
from rxbridge.simulator import Simulator
from tests.rxbridge.coinbase.servers import Observed, wait_for

KEY: dict[str, Any] = {"api_key": "key", "api_secret": "c2VjcmV0", "api_passphrase": "phrase"}


@pytest.mark.parametrize(
    ("spoken", "there", "options", "said"),
    [
        ("advanced", "exchange", {}, "No channels provided: this seems to be the Exchange"),
        ("exchange", "advanced", {}, "authentication failure: this seems to be Advanced Trade"),
        ("exchange", "advanced", KEY, "authentication failure: this seems to be Advanced Trade"),
    ],
)
def test_the_other_feed_is_recognized_by_its_first_refusal(
    watch: Callable[[Any], Observed], spoken: FeedName, there: FeedName, options: dict[str, Any], said: str
) -> None:
    products = ("BTC-USD", "ETH-USD")
    with Simulator(feed=there, products=products, rate=0) as simulator:
        observed = watch(frames(products, ["ticker", "matches"], feed=spoken, url=simulator.url, **options))
        wait_for(lambda: observed.errors)

        (error,) = observed.errors
        assert isinstance(error, SubscriptionRejected)
        assert f"{simulator.url} refuses everything: '{said}" in str(error)
        assert f"set feed.protocol (--feed) to {there}, or feed.url to {FEED_URLS[spoken]}" in str(error)
        assert simulator.statistics.connections == 1
        assert simulator.statistics.frames["error"] == 1


@pytest.mark.parametrize("protocol", [EXCHANGE, ADVANCED])
@pytest.mark.parametrize(
    "answer",
    [
        b'{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}',
        b'{"type":"error","message":"Authentication Failed","reason":"invalid signature"}',
        b'{"type":"error","message":"ETH-USD is not a valid product"}',
    ],
)
def test_other_refusals_are_not_taken_for_it(protocol: Any, answer: bytes) -> None:
    refused = protocol.answers.answer_in(answer)

    assert not refused.is_final
