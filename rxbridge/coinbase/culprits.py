"""Which products or channels the text of a refusal speaks of."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from rxbridge.coinbase.wanted import Wanted, products_of


def named_in(
    text: str, wanted: Wanted, has_products: Callable[[str], bool], signed: Container[str] = ()
) -> tuple[list[str], list[str]]:
    """The products and the channels that a refusal names, of those that were asked for.

    Args:
        text: All that it says.
        wanted: What was asked for.
        has_products: Whether a channel is asked for product by product.
        signed: The channels that the message was signed for; what is said of a signature is said of them.
    """
    named = {word.rstrip(".") for word in re.findall(r"[\w.-]+", text)}
    # A channel's name may be an everyday word, so it counts only where the text speaks of channels. Where a key is
    # wanted, that is for a channel, which need not be named if there is only one.
    speaks_of_a_key = re.search(r"auth", text, re.IGNORECASE)
    speaks_of_channels = speaks_of_a_key or re.search(r"channel", text, re.IGNORECASE)
    channels = [channel for channel in wanted if channel in named and speaks_of_channels]
    if len(wanted) == 1 and (speaks_of_a_key or not any(map(has_products, wanted))):
        channels = list(wanted)
    if speaks_of_a_key and not channels:
        channels = [channel for channel in wanted if channel in signed]
    products = [product for product in products_of(wanted) if product in named and product not in channels]
    return products, channels
