"""Levels of an order book, as the feeds write them. They are read when somebody asks for them, and not before."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

MOST_LEVELS = 100_000
"""Levels of a book that are read of one message. Coinbase's largest have 46,000."""

_Decoded = TypeVar("_Decoded")


class Level(msgspec.Struct, gc=False):
    """A level as Advanced Trade writes it."""

    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


_PAIRS_DECODER = msgspec.json.Decoder(list[tuple[str, str]] | None)
_CHANGES_DECODER = msgspec.json.Decoder(list[tuple[str, str, str]])
_LEVELS_DECODER = msgspec.json.Decoder(list[Level])


def pairs(data: msgspec.Raw) -> list[tuple[str, str]]:
    """Price and size of one side of a snapshot of the Exchange; a side on which there is nothing may be null.

    Raises:
        ValueError: They are not there, out of shape, or more than `MOST_LEVELS`; likewise below.
    """
    return _read(_PAIRS_DECODER, data) or []


def changes(data: msgspec.Raw) -> list[tuple[str, str, str]]:
    """Side, price and size of an update of the Exchange."""
    return _read(_CHANGES_DECODER, data)


def advanced(data: msgspec.Raw) -> list[Level]:
    """The levels of a snapshot or an update of Advanced Trade, both sides in any order."""
    return _read(_LEVELS_DECODER, data)


def _read(decoder: msgspec.json.Decoder[_Decoded], data: msgspec.Raw) -> _Decoded:
    content = bytes(data)
    if not content:
        raise ValueError("its levels are not there")
    if content.count(b"[") + content.count(b"{") > MOST_LEVELS:
        raise ValueError(f"a book of more than {MOST_LEVELS} levels")
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
