"""Frames to messages, whatever they hold: what both feeds have in common.

A typed msgspec decoder reads what Coinbase sends. What that decoder will not take, because it is odd, or of a kind
that makes no message, or no JSON, goes through the standard library's parser, which says which of the three it is.

What a frame becomes must not depend on who asks: the delivery and the audit decode it on stacks of different depth, and
a parser that gives up where the stack ends would tell them different things. So the depth is limited here, far above
what Coinbase sends and far below what any stack holds. Nor may a frame take a multiple of its own size: an empty list
is three bytes on the wire and sixty in memory.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Container
from typing import Any, NamedTuple, NoReturn, TypeAlias, cast

import msgspec

from rxbridge.errors import MalformedFrame
from rxbridge.messages import FRAME_FIELD, PART_FIELD, UPDATES_FIELD, Frame, Message, Unknown

Messages: TypeAlias = tuple[Message, ...]

_KIND_LENGTH = 100
"""Characters of the name of an unknown kind that are kept."""

DEEPEST = 128
"""Levels of nesting; Coinbase sends five at most."""

_SHALLOW_BYTES = 2 * DEEPEST
"""No JSON of this length can be nested more deeply."""

_MOST_VALUES = 50_000
"""A frame of more values than this is not built up in memory; only its kind is read. Its bytes are no fewer."""

_LONGEST_TEXT = 1 << 20
"""Bytes of a frame that is not ASCII; of a longer one, likewise."""

_PIECE_BYTES = 1 << 20

_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)


class Kinds(NamedTuple):
    """How the frames of a feed are read.

    Attributes:
        field: Where a frame says of which kind it is.
        names: The kinds that are read.
        name: Reads that field of a frame, and nothing else; what is no text is the empty text.
        read: The messages of a frame in its usual form; raises what msgspec raises if it is in none.
        read_flat: Likewise, for the kinds that hold no lists that are looked into: however long such a frame is, its
            message takes no more memory.
    """

    field: str
    names: Container[str]
    name: Callable[[bytes], str]
    read: Callable[[bytes], Messages]
    read_flat: Callable[[bytes], Messages]


def decode(frame: Frame, kinds: Kinds) -> Messages:
    """The messages of a frame.

    JSON that is no object (`level3` sends arrays), objects that do not say what they are, and all kinds that are not
    read are `Unknown`.

    A number or a boolean where text belongs is taken as its JSON text, and so is a number that no double or integer
    holds; a boolean where a number belongs is text too, which no one will take for a number. Null counts as missing.
    Half a surrogate pair becomes U+FFFD, so that all text of a message can be encoded. Of a repeated key, the last
    counts.

    Raises:
        MalformedFrame: The frame is no JSON or no UTF-8, it is nested more than 128 levels deep, or it has an object
            or an array where a plain value belongs. Also if it has more than 50,000 values, or more than 1 MiB that
            is not all ASCII, and is of a kind that is read, but not in its usual form: what is so large is not looked
            at twice.
    """
    data = frame.data
    if len(data) > _SHALLOW_BYTES and data.count(b"[") + data.count(b"{") > DEEPEST and _is_deep(data):
        raise MalformedFrame(data, f"nested more than {DEEPEST} levels deep")
    try:
        messages = _decode_costly(data, kinds) if len(data) > _MOST_VALUES and _is_costly(data) else kinds.read(data)
        _require_utf8(data)  # msgspec does not look into the text of fields that it skips
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        messages = _decode_odd(data, kinds)
    for message in messages:
        msgspec.structs.force_setattr(message, "frame", frame)
    return messages


def kind_reader(field: str) -> Callable[[bytes], str]:
    """Reads one field of an object, if that is text; the rest is only checked for being JSON."""
    kind = msgspec.defstruct("Kind", [(field, msgspec.Raw, msgspec.Raw())], frozen=True, gc=False)
    decoder = msgspec.json.Decoder(kind)

    def read(data: bytes) -> str:
        try:
            return msgspec.json.decode(getattr(decoder.decode(data), field), type=str)
        except msgspec.DecodeError:
            return ""  # no object, or one that does not say it, or not in text

    return read


def _is_costly(data: bytes) -> bool:
    """Whether the lenient parser would need a multiple of the frame's size.

    A value takes fifty bytes and more, and a text of emoji ten times its length while it is being made.
    """
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    return values > _MOST_VALUES or (len(data) > _LONGEST_TEXT and not data.isascii())


def _decode_costly(data: bytes, kinds: Kinds) -> Messages:
    """A message that would take too much memory: nothing of it is made but what a kind without lists holds.

    Raises:
        MalformedFrame: It is no JSON, or a message of a known kind in an unusual form.
    """
    try:
        _require_utf8(data)
        try:
            return kinds.read_flat(data)
        except msgspec.ValidationError:
            _ANY_JSON.decode(data)
        name = kinds.name(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedFrame(data, str(error)) from error
    if name in kinds.names:
        raise MalformedFrame(data, f"of the {kinds.field} {name}, in an odd form, and too large to look closer")
    return (Unknown(type=name[:_KIND_LENGTH]),)


_NEXT_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"?)*+([\[{]|[\]}]|\Z)', re.DOTALL)
"""A bracket or the end, and all before it that is none, texts included. It matches wherever it is tried, so no byte is
looked at twice."""


_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1, b"": 0}


def _is_deep(data: bytes) -> bool:
    depth = 0
    for found in _NEXT_BRACKET.finditer(data):
        depth += _STEPS[found[1]]
        if depth > DEEPEST:
            return True
    return False


def _require_utf8(data: bytes) -> None:
    if data.isascii():
        return
    # In pieces: a text of one emoji takes four bytes a character while it is being decoded.
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _PIECE_BYTES):
        decoder.decode(data[start : start + _PIECE_BYTES])
    decoder.decode(b"", final=True)


def _decode_odd(data: bytes, kinds: Kinds) -> Messages:
    try:
        value = _plain(_PARSER.decode(data.decode()))
    except (ValueError, RecursionError) as error:
        raise MalformedFrame(data, str(error)) from error
    if not isinstance(value, dict):
        return (Unknown(),)
    fields = cast("dict[str, Any]", value)
    name = fields.get(kinds.field)
    if not isinstance(name, str):
        return (Unknown(),)
    if name not in kinds.names:
        return (Unknown(type=name[:_KIND_LENGTH]),)
    for hidden in (FRAME_FIELD, PART_FIELD, UPDATES_FIELD):
        fields.pop(hidden, None)
    try:
        return kinds.read(msgspec.json.encode(fields))
    except msgspec.DecodeError as error:
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
