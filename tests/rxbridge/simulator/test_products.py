"""What a simulator's products are told by."""

from collections import Counter

import pytest

from rxbridge.errors import ConfigError
from rxbridge.simulator.products import products_named


def test_numbers_make_up_products_beside_those_that_are_named() -> None:
    products = products_named(["OLD-USD:delisted", "BTC-USD", "380", "12:quiet", "6:untraded"])
    assert len({product.product_id for product in products}) == len(products) == 400
    assert Counter(product.kind for product in products) == {"lively": 381, "quiet": 12, "untraded": 6, "delisted": 1}
    assert [(product.product_id, product.kind) for product in products[:2]] == [
        ("OLD-USD", "delisted"),
        ("BTC-USD", "lively"),
    ]
    assert products[1].price_decimals == 2
    quotes = Counter(product.product_id.partition("-")[2] for product in products)
    assert quotes["USD"] > 200
    assert quotes["EUR"] > 20


def test_what_is_named_is_not_made_up_again_wherever_it_stands() -> None:
    products = products_named(["3", "ADA-USD:quiet", "SIM001-USD", "20"])
    assert len({product.product_id for product in products}) == len(products) == 25


def test_of_a_repeated_product_the_first_counts() -> None:
    (product,) = products_named(["BTC-USD:quiet", "BTC-USD"])
    assert product.kind == "quiet"


@pytest.mark.parametrize(
    "names", [["BTC-USD:dead"], ["btc-usd"], ["-5"], ["0"], [], ["9999999"], ["6000", "6000"], ["9" * 5000]]
)
def test_what_names_no_product_is_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="products"):
        products_named(names)
