"""Frames of the Exchange feed to messages.

A typed msgspec decoder reads what Coinbase sends. What that decoder will not take, because it is odd, or of a kind
that makes no message, or no JSON, goes through the standard library's parser, which says which of the three it is.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeAlias, cast

import msgspec

from rxbridge.errors import MalformedFrame
from rxbridge.messages import (
    FRAME_FIELD,
    OWN_CONNECTION,
    FeedErrorMessage,
    Frame,
    GapNotice,
    Heartbeat,
    LastMatch,
    Match,
    Message,
    Subscriptions,
    Ticker,
    Unknown,
)

_WireMessage: TypeAlias = Ticker | Match | LastMatch | Heartbeat | Subscriptions | FeedErrorMessage

_TYPES: dict[str, type[_WireMessage]] = {
    "ticker": Ticker,
    "match": Match,
    "last_match": LastMatch,
    "heartbeat": Heartbeat,
    "subscriptions": Subscriptions,
    "error": FeedErrorMessage,
}

_DECODER: msgspec.json.Decoder[_WireMessage] = msgspec.json.Decoder(_WireMessage)
_OWN_DECODER = msgspec.json.Decoder(_WireMessage | GapNotice)

_TYPE_LENGTH = 100
"""Characters of an unknown type's name that are kept."""


def decode(frame: Frame) -> tuple[Message, ...]:
    """The message that a frame of the Exchange feed holds; always one.

    Books (`snapshot`, `l2update`) and all other types that rxbridge does not handle are `Unknown`, as are JSON that
    is no object (`level3` sends arrays) and objects without a type.

    A number or a boolean where text belongs is taken as its JSON text, and so is a number that no double or integer
    holds; a boolean where a number belongs is text too, which no one will take for a number. Null counts as missing.
    Half a surrogate pair becomes U+FFFD, so that all text of a message can be encoded. Of a repeated key, the last
    counts.

    Raises:
        MalformedFrame: The frame is no JSON or no UTF-8, it is nested too deeply to be read (hundreds of levels), or
            it has an object or an array where a plain value belongs.
    """
    data = frame.data
    message: Message
    try:
        # What comes by a connection cannot pass for a word of ours.
        message = (_OWN_DECODER if frame.connection == OWN_CONNECTION else _DECODER).decode(data)
        if not data.isascii():
            data.decode()  # msgspec does not look into the text of fields that it skips
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = _decode_odd(data)
    msgspec.structs.force_setattr(message, "frame", frame)
    return (message,)


def _decode_odd(data: bytes) -> Message:
    try:
        value = _plain(_PARSER.decode(data.decode()))
    except (ValueError, RecursionError) as error:
        raise MalformedFrame(data, str(error)) from error
    if not isinstance(value, dict):
        return Unknown()
    fields = cast("dict[str, Any]", value)
    name = fields.get("type")
    if not isinstance(name, str):
        return Unknown()
    if name not in _TYPES:
        return Unknown(type=name[:_TYPE_LENGTH])
    fields.pop(FRAME_FIELD, None)
    try:
        return msgspec.convert(fields, _TYPES[name])
    except msgspec.ValidationError as error:
        raise MalformedFrame(data, str(error)) from error


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_PARSER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_json)


def _plain(value: Any) -> Any:
    """Parsed JSON without nulls, its booleans as text, all text such that it can be encoded."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case bool():
            return "true" if value else "false"
        case list():
            return [_plain(item) for item in cast("list[Any]", value) if item is not None]
        case dict():
            return {_plain(k): _plain(v) for k, v in cast("dict[str, Any]", value).items() if v is not None}
        case _:
            return value
