"""What the simulator does, for people: its products, channels, REST routes and faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rxbridge.faults import KINDS
from rxbridge.simulator import live
from rxbridge.simulator.products import KINDS as PRODUCT_KINDS
from rxbridge.simulator.products import Kind, products_named
from rxbridge.simulator.protocol import AUTHENTICATED_CHANNELS
from rxbridge.simulator.rest import ROUTES
from rxbridge.simulator.rest_limit import BURST, REQUESTS_PER_SECOND

PRODUCTS_NAMED = 5
"""How many products of a kind are named; of the others there is the number."""

PRODUCTS: dict[Kind, str] = {
    "lively": "traded, each as likely as the other",
    "quiet": "traded a hundredth as often",
    "untraded": "a book, and never a trade: tickers with the price 0",
    "delisted": "in REST alone; a subscribe that names one is refused, all of it",
}

EXCHANGE = {
    "auctionfeed": "every second, the auction of a product that was never traded",
    "heartbeat": "the last trade's id, every second and product",
    "level2_batch": "a snapshot of the book, then what has changed, every 50 ms",
    "matches": "the last trade, then every trade",
    "status": "all products and currencies, every 5 s; takes no products",
    "ticker": "the last trade with the best bid and ask, then after every trade",
    "ticker_1000": "as ticker_batch, of which it is the old name",
    "ticker_batch": "likewise, every 5 s if there was a trade",
}

KEYED = {
    "full": "all orders and trades, without a hole in the sequence: who hears them has the book",
    "level2": "as level2_batch, every 10 ms",
    "rfq_matches": "every second, a trade that answered a request for quotes; takes no products",
}

ADVANCED = {
    "candles": "the last 100 of five minutes, then those that change, every second",
    "heartbeats": "every second; takes no products",
    "level2": "the book, then what has changed; sent as l2_data",
    "market_trades": "the last 100 trades, then every trade, the newest of a frame first",
    "status": "how the products are listed",
    "ticker": "the state of the market, then whenever it changes",
    "ticker_batch": "likewise, every 5 s, without the quotes",
}


FAULTS = {
    "drop": "a frame is lost",
    "duplicate": "a frame is sent twice",
    "reorder": "a frame is overtaken by others",
    "truncate": "a frame ends in the middle",
    "missing_field": "a frame lacks a field",
    "null_field": "a field is null",
    "clock": "a time is off",
    "last_trade_id_zero": "a heartbeat knows no last trade",
    "garbage": "text that is no message is sent besides",
    "binary": "a binary frame is sent besides",
    "huge": "a book of 10 MB is sent besides",
    "unknown": "a message of an unknown type is sent besides",
    "level3": "the bare arrays of level3 are sent besides",
    "close": "connections are closed",
    "reset": "connections are reset",
    "silence": "connections stay, and nothing is sent or answered",
    "trickle": "so many bytes a second are sent",
    "subscription_error": "a subscribe that names the product is refused",
    "partial_ack": "the channel is not subscribed",
    "rest_429": "REST has had too many requests",
    "rest_500": "REST fails",
    "rest_slow": "REST takes longer",
    "rest_empty": "REST has no trades",
}


class Section(NamedTuple):
    """A table with a title."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def describe(products: Iterable[str]) -> list[Section]:
    """What a simulator of these products does.

    Args:
        products: As for `Simulator`.

    Raises:
        ConfigError: They are none.
    """
    return [
        Section("Products", ("kind", "number", "what becomes of them", "which"), _products(products)),
        Section(
            "Channels of the Exchange feed",
            ("channel", "acknowledged as", "what is sent"),
            [(name, live.CHANNELS[name], said) for name, said in EXCHANGE.items()]
            + [(name, live.KEYED_CHANNELS[name], f"with --api-key: {said}") for name, said in KEYED.items()]
            + [(name, "", "refused: it needs a key") for name in sorted(AUTHENTICATED_CHANNELS - KEYED.keys())],
        ),
        Section("Channels of Advanced Trade", ("channel", "what is sent"), list(ADVANCED.items())),
        Section(
            f"REST, {REQUESTS_PER_SECOND:g} requests a second, {BURST} at once",
            ("GET", "what it takes or answers"),
            list(ROUTES.items()),
        ),
        Section(
            "Faults, of which a schedule says when",
            ("kind", "what happens", "what it can be told"),
            [(name, FAULTS[name], ", ".join(kind.parameters)) for name, kind in KINDS["feed"].items()],
        ),
    ]


def _products(names: Iterable[str]) -> list[tuple[str, str, str, str]]:
    products = products_named(names)
    rows: list[tuple[str, str, str, str]] = []
    for kind in PRODUCT_KINDS:
        ids = [product.product_id for product in products if product.kind == kind]
        if ids:
            which = ", ".join(ids[:PRODUCTS_NAMED]) + (" ..." if len(ids) > PRODUCTS_NAMED else "")
            rows.append((kind, str(len(ids)), PRODUCTS[kind], which))
    return rows
