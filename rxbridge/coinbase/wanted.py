"""What is asked for, or is left to ask for: products by channel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from rxbridge.coinbase.answers import Pair

Wanted: TypeAlias = Mapping[str, tuple[str, ...]]
"""Products by channel, named as on the wire."""


def pairs_of(wanted: Wanted) -> set[Pair]:
    """Each product with each of its channels."""
    return {(channel, product) for channel, products in wanted.items() for product in products}


def by_channel(pairs: Collection[Pair]) -> dict[str, tuple[str, ...]]:
    """The pairs as products by channel, in the order of their names."""
    channels = sorted({channel for channel, _ in pairs})
    return {channel: tuple(sorted(product for name, product in pairs if name == channel)) for channel in channels}


def products_of(wanted: Wanted) -> list[str]:
    """Each product once, in order."""
    return list(dict.fromkeys(product for products in wanted.values() for product in products))


def only(wanted: Wanted, pairs: Collection[Pair]) -> dict[str, tuple[str, ...]]:
    """What of `wanted` is among the pairs, in its order."""
    left = {channel: tuple(p for p in products if (channel, p) in pairs) for channel, products in wanted.items()}
    return {channel: products for channel, products in left.items() if products}


def halves_of(wanted: Wanted) -> list[dict[str, tuple[str, ...]]]:
    """Halves by product; of a single product by channel; none of a single pair."""
    pairs = pairs_of(wanted)
    products = products_of(wanted)
    channels = list(wanted)
    if len(products) > 1:
        chosen = set(products[: len(products) // 2])
        first = {pair for pair in pairs if pair[1] in chosen}
    elif len(channels) > 1:
        chosen = set(channels[: len(channels) // 2])
        first = {pair for pair in pairs if pair[0] in chosen}
    else:
        return []
    return [only(wanted, first), only(wanted, pairs - first)]
