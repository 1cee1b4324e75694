"""Which connection brings which products. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rxbridge.errors import ConfigError
from rxbridge.messages import MOST_LINES


class Allocation:
    """Products in groups, each of which is brought by connections of its own.

    A product stays in its group for as long as it is wanted, so that no change costs the others anything. A group that
    has lost all its products is free for new ones.

    Args:
        largest: Products in a group, at most; None for all in one.
        most: How many groups there may be; None for any number.

    Attributes:
        groups: The products by number of the group, from 0 and below `most`.
        left_out: Those for which there is no room.
    """

    def __init__(self, largest: int | None, most: int | None = None) -> None:
        self._largest = largest
        self._most = most
        self.groups: dict[int, tuple[str, ...]] = {}
        self.left_out: tuple[str, ...] = ()

    def allot(self, products: Sequence[str]) -> None:
        """Have these products, and no others, in the groups."""
        wanted = dict.fromkeys(products)
        kept = {number: [one for one in group if one in wanted] for number, group in self.groups.items()}
        known = {product for group in kept.values() for product in group}
        groups = {number: group for number, group in kept.items() if group}
        left_out: list[str] = []
        for product in wanted:
            if product not in known:
                group = self._group_with_room(groups)
                (left_out if group is None else group).append(product)
        self.left_out = tuple(left_out)
        self.groups = {number: tuple(group) for number, group in sorted(groups.items())}

    def _group_with_room(self, groups: dict[int, list[str]]) -> list[str] | None:
        """The emptiest one that may have more; else a new one; None if there may be no more."""
        if groups:
            emptiest = min(groups.values(), key=len)
            if self._largest is None or len(emptiest) < self._largest:
                return emptiest
        free = next(number for number in range(len(groups) + 1) if number not in groups)
        if self._most is not None and free >= self._most:
            return None
        return groups.setdefault(free, [])


def require_room(products: int, products_per_connection: int | None, connections: int, *, section: str = "") -> None:
    """Refuse what takes more connections than there may be.

    Args:
        products: How many there are.
        products_per_connection: The most that one connection brings; None for no limit.
        connections: How many connections bring each.
        section: What stands before the names of the settings.

    Raises:
        ConfigError: It does.
    """
    groups = 1 if products_per_connection is None else -(-products // products_per_connection)
    if groups * connections <= MOST_LINES:
        return
    if connections > MOST_LINES:
        raise ConfigError(f"{section}connections", f"{connections} are too many", f"{MOST_LINES} are the most")
    fewest = -(-products // (MOST_LINES // connections))
    raise ConfigError(
        f"{section}products_per_connection",
        f"{products:,} products, {products_per_connection} on a connection and each by {connections}, take "
        f"{groups * connections:,} connections, and {MOST_LINES:,} are the most",
        f"set it to {fewest} or more, lower {section}connections, or ask for fewer products",
    )
