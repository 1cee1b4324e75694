"""`rxbridge products` and `rxbridge check`, against a simulator and against servers with lists of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rxbridge.simulator import Simulator
from tests.ports import free_port
from tests.rxbridge.product_lists import ListServer, listed

Start = Callable[..., Any]

LISTED = listed("ETH-USD", "BTC-USD", "BTC-EUR", halted="HALT-USD", delisted="OLD-USD")


@pytest.fixture
def listing() -> Iterator[str]:
    """The address of a REST API that has only a list of products."""
    with ListServer(LISTED) as server:
        yield server.url


@pytest.fixture
def products(command: Start, listing: str) -> Start:
    def ask(*arguments: object, code: int = 0, **environment: str) -> Any:
        asked = command("products", *arguments, RXBRIDGE_BACKFILL_URL=listing, **environment)
        assert asked.wait() == code, asked.stderr
        return asked

    return ask


def test_a_table_with_what_a_run_subscribes_to_first(products: Start) -> None:
    asked = products("ETH-USD", "*-usd,OLD-USD", "NO-SUCH")

    assert [line.split("\t") for line in asked.stdout.splitlines()] == [
        ["product", "status", "subscribed"],
        ["ETH-USD", "online", "yes"],
        ["BTC-USD", "online", "yes"],
        ["HALT-USD", "online, trading is disabled", "no"],
        ["OLD-USD", "delisted", "no"],
    ]
    assert asked.stderr.splitlines() == [
        "'OLD-USD' is delisted, and left out",
        "'NO-SUCH' is no product of Coinbase's",
    ]


def test_json_is_an_object_a_line(products: Start) -> None:
    rows = [json.loads(line) for line in products("--json", "all").stdout.splitlines()]

    assert [row["id"] for row in rows if row["subscribed"]] == ["BTC-EUR", "BTC-USD", "ETH-USD"]
    assert rows[-1] == {"id": "OLD-USD", "status": "delisted", "trading_disabled": True, "subscribed": False}


def test_without_patterns_it_is_about_the_settings(products: Start) -> None:
    asked = products(RXBRIDGE_FEED_PRODUCTS="BTC-*")

    assert [line.split("\t")[0] for line in asked.stdout.splitlines()[1:]] == ["BTC-EUR", "BTC-USD"]


def test_nothing_left_says_what_to_do(products: Start) -> None:
    asked = products("OLD-USD", "BTC-UDS", code=78)

    assert "'OLD-USD' is delisted" in asked.stderr
    assert "did you mean BTC-USD?" in asked.stderr
    assert "rxbridge products all" in asked.stderr


def test_on_advanced_trade_ids_are_taken_as_they_are(products: Start) -> None:
    asked = products("--feed", "advanced", "BTC-USDC", "OLD-USD", "*-EUR")

    assert [line.split("\t") for line in asked.stdout.splitlines()[1:]] == [
        ["BTC-USDC", "unknown", "yes"],
        ["OLD-USD", "delisted", "yes"],
        ["BTC-EUR", "online", "yes"],
    ]
    assert asked.stderr == ""


def test_no_answer_is_something_that_is_not_available(command: Start) -> None:
    asked = command("products", "all", RXBRIDGE_BACKFILL_URL=f"http://127.0.0.1:{free_port()}")

    assert asked.wait() == 69
    assert "gives no usable answer" in asked.stderr


def check_lines(check: Any) -> dict[str, str]:
    return {line.split(":")[0][6:]: line for line in check.stdout.splitlines()}


def test_check_says_what_a_run_would_leave_out(command: Start, listing: str) -> None:
    with Simulator() as simulator:
        check = command(
            *("check", "--feed-url", simulator.url, "--products", "BTC-USD,OLD-USD,ETH-UDS"),
            PULSESTREAM_API_KEY="any-key-at-all",
            PULSESTREAM_API_URL=simulator.rest_url,
            RXBRIDGE_BACKFILL_URL=listing,
            RXBRIDGE_JOURNAL_MAX_BYTES="1MB",
        )
        assert check.wait() == 78
    lines = check_lines(check)

    assert lines["products"].startswith("FAIL")
    assert "'OLD-USD' is delisted, and left out; 'ETH-UDS' is no product" in lines["products"]
    assert lines["feed"].startswith("ok"), "what is left was not tried"
    assert lines["feed"].endswith("subscription of BTC-USD")


def test_check_resolves_wildcards_before_it_subscribes(command: Start, listing: str) -> None:
    with Simulator() as simulator:
        check = command(
            *("check", "--feed-url", simulator.url, "--products", "*-USD"),
            PULSESTREAM_API_KEY="any-key-at-all",
            PULSESTREAM_API_URL=simulator.rest_url,
            RXBRIDGE_BACKFILL_URL=listing,
            RXBRIDGE_JOURNAL_MAX_BYTES="1MB",
        )
        check.wait()
    lines = check_lines(check)

    assert lines["products"] == "ok    products: *-USD means 2 products: BTC-USD, ETH-USD"
    assert lines["feed"].endswith("subscription of BTC-USD, ETH-USD")


@pytest.mark.parametrize("name", ["check", "run"])
def test_products_that_take_too_many_connections_are_refused(command: Start, listing: str, name: str) -> None:
    with Simulator() as simulator:
        refused = command(
            *(name, "--feed-url", simulator.url, "--products", "*-USD"),
            PULSESTREAM_API_KEY="any-key-at-all",
            PULSESTREAM_API_URL=simulator.rest_url,
            RXBRIDGE_BACKFILL_URL=listing,
            RXBRIDGE_JOURNAL_MAX_BYTES="1MB",
            RXBRIDGE_FEED_CONNECTIONS="600",
            RXBRIDGE_FEED_PRODUCTS_PER_CONNECTION="1",
        )
        assert refused.wait() == 78

    says = "feed.products_per_connection: 2 products, 1 on a connection and each by 600, take 1,200 connections"
    assert says in refused.stdout + refused.stderr
    assert "set it to 2 or more" in refused.stdout + refused.stderr
