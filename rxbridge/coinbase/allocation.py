"""Which connection brings which products. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class Allocation:
    """Products in groups, each of which is brought by connections of its own.

    A product stays in its group for as long as it is wanted, so that no change costs the others anything. A group that
    has lost all its products is free for new ones.

    Args:
        largest: Products in a group, at most; None for all in one.

    Attributes:
        groups: The products by number of the group, from 0.
    """

    def __init__(self, largest: int | None) -> None:
        self._largest = largest
        self.groups: dict[int, tuple[str, ...]] = {}

    def allot(self, products: Sequence[str]) -> None:
        """Have these products, and no others, in the groups."""
        wanted = dict.fromkeys(products)
        kept = {number: [one for one in group if one in wanted] for number, group in self.groups.items()}
        known = {product for group in kept.values() for product in group}
        groups = {number: group for number, group in kept.items() if group}
        for product in wanted:
            if product not in known:
                self._group_with_room(groups).append(product)
        self.groups = {number: tuple(group) for number, group in sorted(groups.items())}

    def _group_with_room(self, groups: dict[int, list[str]]) -> list[str]:
        """The emptiest one that may have more; else a new one."""
        if groups:
            emptiest = min(groups.values(), key=len)
            if self._largest is None or len(emptiest) < self._largest:
                return emptiest
        free = next(number for number in range(len(groups) + 1) if number not in groups)
        return groups.setdefault(free, [])
