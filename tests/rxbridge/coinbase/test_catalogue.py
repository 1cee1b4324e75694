"""The list of products: read from answers of every kind, and what ids and wildcards mean by it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.catalogue import Catalogue, Product, is_wildcard, matching, parse, resolve
from rxbridge.coinbase.rest import RestClient
from rxbridge.errors import ConfigError, RestFailed, RestRefused
from tests.rxbridge.coinbase.servers import RawServer, header

RawServers: TypeAlias = Callable[..., RawServer]
URL = "http://127.0.0.1/products"

BTC_USD: dict[str, Any] = {
    "id": "BTC-USD",
    "base_currency": "BTC",
    "quote_currency": "USD",
    "quote_increment": "0.01",
    "status": "online",
    "status_message": "",
    "trading_disabled": False,
    "auction_mode": False,
}


def catalogue(*products: Product) -> Catalogue:
    return {product.id: product for product in products}


MARKET = catalogue(
    Product("ETH-USD", "online"),
    Product("BTC-USD", "online"),
    Product("BTC-EUR", "online"),
    Product("OLD-USD", "delisted", trading_disabled=True),
    Product("HALT-USD", "online", trading_disabled=True),
    Product("SOON-EUR", "offline"),
)


def answering(status: str, body: bytes, requests: list[bytes] | None = None) -> Callable[[socket.socket, int], None]:
    def serve(connection: socket.socket, _: int) -> None:
        while True:
            request = header(connection)
            if requests is not None:
                requests.append(request)
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return serve


def asked(raw_server: RawServers, status: str, body: bytes, requests: list[bytes] | None = None) -> Catalogue:
    server = raw_server(answering(status, body, requests))
    return RestClient(f"http://127.0.0.1:{server.port}").products()


def test_it_asks_once_for_all_of_them(raw_server: RawServers) -> None:
    requests: list[bytes] = []
    found = asked(raw_server, "200 OK", json.dumps([BTC_USD]).encode(), requests)

    assert found == catalogue(Product("BTC-USD", "online"))
    assert [request.split(b"\r\n")[0] for request in requests] == [b"GET /products HTTP/1.1"]


def test_it_is_longer_than_a_page_of_trades(raw_server: RawServers) -> None:
    """A thousand products with all their fields are more than an answer about trades may have."""
    body = json.dumps([BTC_USD | {"id": f"P{number}-USD", "note": "x" * 1500} for number in range(1000)]).encode()

    assert len(body) > 2**20
    assert len(asked(raw_server, "200 OK", body)) == 1000


def test_it_has_a_longest_length_too(raw_server: RawServers) -> None:
    with pytest.raises(RestFailed, match="longer than 8388608 bytes"):
        asked(raw_server, "200 OK", b'["' + b"x" * 2**23 + b'"]')


def test_too_many_requests(raw_server: RawServers) -> None:
    with pytest.raises(RestFailed, match="slow down") as caught:
        asked(raw_server, "429 Too Many Requests\r\nRetry-After: 7", b'{"message":"slow down"}')

    assert (caught.value.status, caught.value.retry_after) == (429, 7.0)


def test_a_redirect_is_not_followed(raw_server: RawServers) -> None:
    elsewhere = raw_server(answering("200 OK", json.dumps([BTC_USD]).encode()))

    with pytest.raises(RestFailed) as caught:
        asked(raw_server, f"302 Found\r\nLocation: http://127.0.0.1:{elsewhere.port}/products", b"")

    assert caught.value.status == 302
    assert elsewhere.accepted == 0


def test_an_address_without_such_a_list(raw_server: RawServers) -> None:
    with pytest.raises(RestRefused, match="NotFound"):
        asked(raw_server, "404 Not Found", b'{"message":"NotFound"}')


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "DELISTED "}, Product("BTC-USD", "delisted")),
        ({"status": None, "trading_disabled": None}, Product("BTC-USD")),
        ({"status": ["online"], "trading_disabled": "no"}, Product("BTC-USD")),
        ({"trading_disabled": True, "margin_enabled": {}}, Product("BTC-USD", "online", trading_disabled=True)),
    ],
    ids=["capitals", "nulls", "odd types", "halted"],
)
def test_odd_records_that_are_products(changes: dict[str, Any], expected: Product) -> None:
    assert parse(URL, json.dumps([BTC_USD | changes]).encode()) == catalogue(expected)


@pytest.mark.parametrize(
    "record", [{}, {"id": None}, {"id": ""}, {"id": "A\nB"}, {"id": "\u202e"}, {"id": "X" * 65}, None, 1, [], "BTC-USD"]
)
def test_a_record_that_is_none_costs_only_itself(record: object) -> None:
    assert list(parse(URL, json.dumps([record, BTC_USD]).encode())) == ["BTC-USD"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"null", b"[", b"[" * 100_000, b"\xff", b"[" + b"1," * 20_000 + b"1]"]
)
def test_no_list_is_a_failed_try(body: bytes) -> None:
    with pytest.raises(RestFailed, match="no list of products") as caught:
        parse(URL, body)

    assert caught.value.retryable
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("body", [b"[]", b"[{}]", b'[{"id":"\\u0000"}]'])
def test_a_list_of_nothing_is_a_failed_try(body: bytes) -> None:
    """Otherwise an odd moment of a server in between would end every subscription."""
    with pytest.raises(RestFailed, match="no product in its list"):
        parse(URL, body)


def test_the_named_come_first_in_their_order_then_what_matches_by_id() -> None:
    meant = resolve(("ETH-USD", "all", "BTC-USD", "ETH-USD"), MARKET)

    assert meant.products == ("ETH-USD", "BTC-USD", "BTC-EUR")
    assert meant.problems() == {}


@pytest.mark.parametrize(
    ("wildcard", "expected"),
    [
        ("*-USD", ("BTC-USD", "ETH-USD")),
        ("*-usd", ("BTC-USD", "ETH-USD")),
        ("BTC-*", ("BTC-EUR", "BTC-USD")),
        ("?TH-*", ("ETH-USD",)),
        ("ALL", ("BTC-EUR", "BTC-USD", "ETH-USD")),
        ("*", ("BTC-EUR", "BTC-USD", "ETH-USD")),
        ("[BE]*", ()),
    ],
)
def test_wildcards_match_what_trades(wildcard: str, expected: tuple[str, ...]) -> None:
    assert resolve((wildcard,), MARKET).products == expected


def test_what_a_wildcard_passes_over_is_told_with_the_reason() -> None:
    meant = resolve(("*",), MARKET)

    assert meant.passed_over == {
        "HALT-USD": "trading is disabled",
        "OLD-USD": "delisted",
        "SOON-EUR": "status 'offline'",
    }


def test_a_delisted_product_that_is_named_is_left_out_and_told() -> None:
    meant = resolve(("OLD-USD", "BTC-USD", "*-USD"), MARKET)

    assert meant.products == ("BTC-USD", "ETH-USD")
    assert meant.delisted == {"OLD-USD": "delisted"}
    assert meant.problems() == {"OLD-USD": "'OLD-USD' is delisted, and left out"}
    assert "OLD-USD" not in meant.passed_over


def test_a_halted_product_that_is_named_stays() -> None:
    """A halt ends, and its first trade is not to be missed."""
    meant = resolve(("HALT-USD", "SOON-EUR"), MARKET)

    assert meant.products == ("HALT-USD", "SOON-EUR")
    assert meant.paused == {"HALT-USD": "trading is disabled", "SOON-EUR": "status 'offline'"}
    assert meant.problems() == {}


def test_what_a_wildcard_held_it_keeps_during_a_halt_but_not_when_it_is_delisted() -> None:
    meant = resolve(("*-USD",), MARKET, held=("HALT-USD", "OLD-USD", "GONE-USD"))

    assert meant.products == ("BTC-USD", "ETH-USD", "HALT-USD")
    assert list(meant.passed_over) == ["OLD-USD"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("BTC-UDS", "'BTC-UDS' is no product of Coinbase's (did you mean BTC-USD?)"),
        ("btc-usd", "'btc-usd' is no product of Coinbase's (did you mean BTC-USD?)"),
        ("ZZZZZ", "'ZZZZZ' is no product of Coinbase's"),
        ("OLD-USX", "'OLD-USX' is no product of Coinbase's"),
        ("*-UDS", "'*-UDS' matches no product that trades (did you mean *-USD?)"),
        ("BTX-*", "'BTX-*' matches no product that trades (did you mean BTC-*?)"),
        ("\x1b[31m", "'\\x1b[31m' is no product of Coinbase's"),
    ],
)
def test_an_unknown_word_is_told_with_the_nearest_that_trade(word: str, told: str) -> None:
    meant = resolve((word, "ETH-USD"), MARKET)

    assert meant.products == ("ETH-USD",)
    assert meant.problems() == {word: told}


def test_where_the_feed_has_more_than_the_list_ids_stay() -> None:
    meant = resolve(("OLD-USD", "BTC-USDC", "X-*"), MARKET, keep_named=True)

    assert meant.products == ("OLD-USD", "BTC-USDC")
    assert list(meant.problems()) == ["X-*"]


def test_nothing_left_is_an_error_that_says_what_to_do() -> None:
    words = ("OLD-USD", "BTC-UDS")
    with pytest.raises(ConfigError, match="rxbridge products all") as caught:
        resolve(words, MARKET).require_some(words)

    assert "'OLD-USD' is delisted" in str(caught.value)
    assert "did you mean BTC-USD?)" in str(caught.value)
    resolve(("BTC-USD",), MARKET).require_some(("BTC-USD",))


def test_what_a_word_is_about_whether_it_trades_or_not() -> None:
    assert [one.id for one in matching("*-usd", MARKET)] == ["BTC-USD", "ETH-USD", "HALT-USD", "OLD-USD"]
    assert [one.id for one in matching("OLD-USD", MARKET)] == ["OLD-USD"]
    assert matching("NO-SUCH", MARKET) == []


IDS = st.sampled_from(["A-USD", "B-USD", "A-EUR", "AB-EUR", "ALL-B", "a-usd"])
PRODUCTS = st.builds(Product, IDS, st.sampled_from(["online", "offline", "delisted", ""]), st.booleans())
CATALOGUES = st.lists(PRODUCTS).map(lambda products: catalogue(*products))
WORDS = st.lists(IDS | st.sampled_from(["*", "all", "*-USD", "A*", "?-EUR", "[A]*", "C-*"]) | st.text(max_size=5))


@given(words=WORDS, products=CATALOGUES, held=st.sets(IDS), keep=st.booleans())
def test_every_word_and_every_product_has_one_place(
    *, words: list[str], products: Catalogue, held: set[str], keep: bool
) -> None:
    meant = resolve(words, products, held=held, keep_named=keep)
    named = list(dict.fromkeys(word for word in words if not is_wildcard(word)))
    chosen = set(meant.products)

    assert len(chosen) == len(meant.products), "a product twice"
    assert not chosen & ({*meant.delisted} | {*meant.unknown} | {*meant.passed_over})
    assert set(named) <= chosen | {*meant.delisted} | {*meant.unknown}, "a word without a place"
    kept = [name for name in named if name in chosen]
    assert list(meant.products[: len(kept)]) == kept, "the named are not first, or not in their order"
    rest = list(meant.products[len(kept) :])
    assert rest == sorted(rest)
    assert all(not products[name].idle or name in held for name in rest)
    assert set(meant.paused) <= {name for name in named if name in products}
    matched = {one.id for word in words if is_wildcard(word) for one in matching(word, products)} - set(named)
    assert set(rest) | set(meant.passed_over) == matched
    assert resolve(words, dict(reversed([*products.items()])), held=held, keep_named=keep) == meant


@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: json.dumps([{"id": text}]).encode()))
def test_no_answer_crashes_it(body: bytes) -> None:
    words, found = "", {}
    try:
        found = parse(URL, body)
    except RestFailed as error:
        words = str(error)

    assert bool(found) != bool(words)
    assert words.isprintable()
    assert "".join(found).isprintable()
