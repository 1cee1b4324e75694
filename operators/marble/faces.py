"""How an item looks: its label, its colour, and its parts if it is a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

COLOURS_BEFORE_REPEAT = 8
"""How many colours there are before they come again."""

CHARACTER = 7.3
"""Width of one in pixels: the fonts are monospaced, of 12 pixels."""

BEAD = 30.0
"""Diameter of a bead, and height of a pill."""

SMALL_BEAD = 22.0
"""Likewise, within a list."""

_MOST_CHARACTERS = 20
_MOST_PARTS = 6
_MOST_IN_A_PART = 6
_PART_GAP = 3.0

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold, not even escaped: most control characters, and halves of surrogate pairs."""


def visible(text: str) -> str:
    r"""Text as it may stand in a picture: characters that XML forbids written out, such as `\x00`."""
    return _NO_XML.sub(lambda found: ascii(found[0])[1:-1], text)


@dataclass(frozen=True)
class Face:
    """What is drawn of an item.

    Attributes:
        label: Short text.
        colour: From 0 to `COLOURS_BEFORE_REPEAT` - 1.
        title: The text in full.
        parts: The faces of what a list holds; empty if it is none, or too long to be drawn so.
    """

    label: str
    colour: int
    title: str
    parts: tuple[Face, ...] = ()

    @property
    def width(self) -> float:
        """In pixels."""
        if self.parts:
            return sum(part.part_width for part in self.parts) + _PART_GAP * (len(self.parts) - 1) + 14
        return max(BEAD, len(self.label) * CHARACTER + 16)

    @property
    def part_width(self) -> float:
        """In pixels, as a part of a list."""
        return max(SMALL_BEAD, len(self.label) * CHARACTER * 0.9 + 9)

    def part_centres(self) -> list[float]:
        """Where the parts are, from the left edge."""
        centres: list[float] = []
        left = 7.0
        for part in self.parts:
            centres.append(left + part.part_width / 2)
            left += part.part_width + _PART_GAP
        return centres


@dataclass
class Faces:
    """Gives items their faces; of one colour what is of one key, in the order in which the keys come."""

    label: Callable[[Any], str] | None = None
    colour: Callable[[Any], Hashable] | None = None
    _known: dict[Hashable, int] = field(default_factory=dict[Hashable, int])

    def of(self, item: object, lane: str) -> Face:
        """The face of an item on that lane."""
        return self._face(item, lane, self.label or label_of)

    def _face(self, item: object, lane: str, label: Callable[[Any], str]) -> Face:
        parts: tuple[Face, ...] = ()
        if isinstance(item, list | tuple) and self.label is None:
            held = cast("list[object] | tuple[object, ...]", item)
            if 0 < len(held) <= _MOST_PARTS:
                parts = tuple(self._face(part, lane, label) for part in held)
            if any(len(part.label) > _MOST_IN_A_PART or part.parts for part in parts):
                parts = ()
        text = visible(label(item))
        short = text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
        return Face(short, self._colour(cast("object", item), lane), text, parts)

    def _colour(self, item: object, lane: str) -> int:
        key = (self.colour or _colour_key)(item)
        known = ("lane", lane) if key is None else key
        return self._known.setdefault(known, len(self._known) % COLOURS_BEFORE_REPEAT)


def _colour_key(item: object) -> Hashable:
    """What makes items of one colour: the product; a word or a whole number itself; None, the lane, for the rest."""
    product = getattr(item, "product_id", None) or getattr(item, "product", None)
    if product is not None:
        return str(product)
    return item if isinstance(item, str | int) else None


def label_of(item: object) -> str:
    """A short text for an item: trades by their price, quotes by bid and ask, numbers without needless digits."""
    if isinstance(item, str):
        return item
    if isinstance(item, float | Decimal):
        return f"{float(item):.6g}"
    if isinstance(item, list | tuple):
        return "[" + ", ".join(map(label_of, cast("list[object] | tuple[object, ...]", item))) + "]"
    bid, ask = getattr(item, "best_bid", None), getattr(item, "best_ask", None)
    if bid is not None or ask is not None:
        return f"{_price(bid)}/{_price(ask)}"
    price = getattr(item, "price", None)
    return repr(item) if price is None else str(price)


def _price(level: object) -> str:
    return "-" if level is None else str(getattr(level, "price", level))
