"""Messages for an order book of the size of Coinbase's BTC-USD: 46,000 levels."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

LEVELS = 46_000
_TYPICAL_DEPTH = 30
"""How many levels from the best a change is, on the average."""
_REMOVED = 0.4
"""The share of changes that remove a level."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole book."""

    product_id: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Update:
    """One change."""

    product_id: str
    changes: list[tuple[str, str, str]]


def snapshot() -> Snapshot:
    """A full book, a cent from level to level, best first as Coinbase sends it."""
    depth = range(LEVELS // 2)
    return Snapshot(
        "BTC-USD",
        [(f"{65_000 - level / 100:.2f}", f"{level % 97 + 1}.00000001") for level in depth],
        [(f"{65_000.01 + level / 100:.2f}", f"{level % 89 + 1}.00000001") for level in depth],
    )


def updates(count: int) -> list[Update]:
    """Changes mostly close to the best, the same each time."""
    random = Random(1)
    return [_update(random) for _ in range(count)]


def _update(random: Random) -> Update:
    level = min(int(random.expovariate(1 / _TYPICAL_DEPTH)), LEVELS // 2 - 1)
    size = "0" if random.random() < _REMOVED else f"{random.random():.8f}"
    if random.random() < 0.5:
        return Update("BTC-USD", [("buy", f"{65_000 - level / 100:.2f}", size)])
    return Update("BTC-USD", [("sell", f"{65_000.01 + level / 100:.2f}", size)])
