"""Recognizes Coinbase's answers to what we sent among the data, at next to no cost for the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import msgspec

Pair: TypeAlias = tuple[str, str]
"""A channel and a product."""

_DATA: Final = (
    b'{"type":"match"',
    b'{"type":"ticker"',
    b'{"type":"heartbeat"',
    b'{"type":"l2update"',
    b'{"type":"last_match"',
    b'{"type":"snapshot"',
)
_ANSWER_BYTES = 1_048_576
"""An acknowledgement of a thousand products on ten channels has some 120,000."""

_NOTHING = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Coinbase lists all that the connection is subscribed to now."""

    pairs: frozenset[Pair]


@dataclass(frozen=True, slots=True)
class Refused:
    """Coinbase refuses the whole of a message."""

    message: str
    reason: str


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """What answers and data have in common; nothing is assumed of the types, so that no oddity hides an answer.

    The fields stay as they came until they are wanted, so that data take no memory here.
    """

    type: msgspec.Raw = _NOTHING
    message: msgspec.Raw = _NOTHING
    reason: msgspec.Raw = _NOTHING
    channels: msgspec.Raw = _NOTHING


_decoder = msgspec.json.Decoder(_Envelope)
_text_decoder = msgspec.json.Decoder(str)


def answer_in(data: bytes) -> Acknowledged | Refused | None:
    """The answer that a frame holds; None for data.

    Coinbase writes `type` first and without spaces, so nearly all data are told by their first bytes. Whatever begins
    otherwise is decoded, unless it is larger than any answer can be.
    """
    if data.startswith(_DATA) or len(data) > _ANSWER_BYTES:
        return None
    envelope = _decode(data)
    if envelope is None:
        return None
    match _read_text(envelope.type):
        case "error":
            return Refused(_read_text(envelope.message) or "", _read_text(envelope.reason) or "")
        case "subscriptions":
            return Acknowledged(_pairs(_read_any(envelope.channels)))
        case _:
            return None


def is_data(data: bytes) -> bool:
    """Whether a frame is market data: neither an answer, nor something that is no message at all."""
    if data.startswith(_DATA):
        return True
    if len(data) > _ANSWER_BYTES:
        return data.startswith(b"{")
    envelope = _decode(data)
    return envelope is not None and _read_text(envelope.type) not in (None, "error", "subscriptions")


def _decode(data: bytes) -> _Envelope | None:
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Garbage is no answer. It is emitted like every frame, and whoever decodes it tells.
        return None


def _read_text(raw: msgspec.Raw) -> str | None:
    try:
        return _text_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _read_any(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _pairs(channels: object) -> frozenset[Pair]:
    """The pairs of an acknowledgement; entries of other shapes are none."""
    found: set[Pair] = set()
    for channel in _items(channels):
        if isinstance(channel, dict):
            entry = cast("dict[str, object]", channel)
            name = _text(entry.get("name"))
            found.update((name, product) for product in _items(entry.get("product_ids")) if isinstance(product, str))
    return frozenset(found)


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
