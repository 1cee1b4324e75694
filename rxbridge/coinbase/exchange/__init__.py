"""The Exchange feed's frames to messages. Each holds one, told by its `type`.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from rxbridge.coinbase import lenient
from rxbridge.messages import (
    OWN_CONNECTION,
    WHOLE,
    BookSnapshot,
    BookUpdate,
    FeedErrorMessage,
    Frame,
    GapNotice,
    Heartbeat,
    LastTrade,
    Message,
    Subscriptions,
    Ticker,
    Trade,
)

_FlatMessage: TypeAlias = Ticker | Trade | LastTrade | BookSnapshot | BookUpdate | Heartbeat | FeedErrorMessage
_WireMessage: TypeAlias = _FlatMessage | Subscriptions

_NAMES = frozenset({"ticker", "match", "last_match", "snapshot", "l2update", "heartbeat", "subscriptions", "error"})

_DECODER: msgspec.json.Decoder[_WireMessage] = msgspec.json.Decoder(_WireMessage)
_FLAT_DECODER: msgspec.json.Decoder[_FlatMessage] = msgspec.json.Decoder(_FlatMessage)
_OWN_DECODER: msgspec.json.Decoder[_WireMessage | GapNotice] = msgspec.json.Decoder(_WireMessage | GapNotice)


def decode(frame: Frame) -> tuple[Message, ...]:
    """The message that a frame of the Exchange feed holds; always one.

    All types that rxbridge does not handle are `Unknown`. What is odd is read as `rxbridge.coinbase.lenient.decode`
    says. Of a book, it is not looked at the levels.

    Raises:
        MalformedFrame: As there.
    """
    # What comes by a connection cannot pass for a word of ours, nor say which part of its frame it is.
    messages = lenient.decode(frame, _OWN_KINDS if frame.connection == OWN_CONNECTION else _KINDS)
    for message in messages:
        if message.part is not WHOLE:
            msgspec.structs.force_setattr(message, "part", WHOLE)
    return messages


def _read(data: bytes) -> tuple[Message, ...]:
    return (_DECODER.decode(data),)


def _read_own(data: bytes) -> tuple[Message, ...]:
    return (_OWN_DECODER.decode(data),)


def _read_flat(data: bytes) -> tuple[Message, ...]:
    return (_FLAT_DECODER.decode(data),)


_KINDS = lenient.Kinds("type", _NAMES, lenient.kind_reader("type"), _read, _read_flat)
_OWN_KINDS = _KINDS._replace(read=_read_own)
