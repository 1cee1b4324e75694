"""What damaged frames and frames of nonsense look like: pure functions of bytes and dice."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from rxbridge.simulator import wire

_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode

DEEP = 100_000
"""Levels of nesting that no parser should follow."""

LONG_NUMBER_DIGITS = 5_000
"""More than Python turns into an integer by default."""

_GARBAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n",
    b"\x1b[2J\x1b[31m\r\n2026-01-01 00:00:00.000 CRITICAL [FORGED] not a line of this log\x00\x07",
    b'{"type":"match","product_id":"\xff\xfe\xed\xa0\x80"}',
    b'{"type":"heartbeat","last_trade_id":NaN,"sequence":-Infinity}',
    b'{"type":"heartbeat","sequence":' + b"9" * LONG_NUMBER_DIGITS + b"}",
    b"[" * DEEP,
    b"",
    b"null",
    b"1e999",
    b'"match"',
    b"{}",
)

BINARY_BYTES = 200
BOOK_LEVEL = ["65000.00", "0.00000001"]


def truncated(frame: bytes, dice: Random) -> bytes | None:
    """Its beginning, at least a byte, and never all of it; None if it has no more than that."""
    return frame[: dice.randrange(1, len(frame))] if len(frame) > 1 else None


def without_field(frame: bytes, field: str | None, dice: Random) -> bytes | None:
    """The frame without a field, or without any one of them; None if it has no such field."""
    fields = _decode_object(frame)
    name = _field(fields, field, dice)
    if name is None:
        return None
    del fields[name]
    return _encode(fields)


def with_null(frame: bytes, field: str | None, dice: Random) -> bytes | None:
    """The frame with null in a field, or in any one of them; None if it has no such field."""
    fields = _decode_object(frame)
    name = _field(fields, field, dice)
    return None if name is None else _encode(fields | {name: None})


def at_another_time(frame: bytes, offset_seconds: float) -> bytes | None:
    """The frame with its time moved, in the same form; None if it has none."""
    fields = _decode_object(frame)
    time = fields.get("time")
    if not isinstance(time, str):
        return None
    moved = datetime.fromisoformat(time) + timedelta(seconds=offset_seconds)
    whole = int(moved.replace(microsecond=0).timestamp())
    return _encode(fields | {"time": wire.timestamp(whole * 1_000_000_000 + moved.microsecond * 1000)})


def knowing_no_trade(heartbeat: bytes) -> bytes:
    """The heartbeat with 0 for the last trade id, which the feed sent for years."""
    return _encode(_decode_object(heartbeat) | {"last_trade_id": 0})


def garbage(dice: Random) -> bytes:
    """Text that is no message, and that may hurt who takes it for one. Some of it is no UTF-8."""
    return dice.choice((*_GARBAGE, bytes(dice.choices(range(32, 127), k=dice.randint(1, 200)))))


def binary(dice: Random) -> bytes:
    """Bytes at random."""
    return dice.randbytes(BINARY_BYTES)


def huge(size: int, product_id: str) -> bytes:
    """An order book of `size` bytes, or a little more than that where it is very small."""
    head = b'{"type":"snapshot","product_id":' + _encode(product_id) + b',"asks":[],"bids":['
    level = _encode(BOOK_LEVEL)
    levels = max(1, (size - len(head) - 2) // (len(level) + 1))
    body = head + b",".join([level] * levels) + b"]}"
    return body + b" " * (size - len(body))


def unknown(product_id: str, dice: Random) -> bytes:
    """A message of a type that there is not."""
    return _encode(
        {"type": f"new_in_{dice.randint(2027, 2099)}", "product_id": product_id, "sequence": 1, "more": [{}]}
    )


def level3_schema() -> bytes:
    """The first message of the channel level3: what stands where in those that follow."""
    common = ["type", "product_id", "sequence"]
    schema = {
        "change": [*common, "order_id", "price", "size", "time"],
        "done": [*common, "order_id", "time"],
        "match": [*common, "maker_order_id", "taker_order_id", "price", "size", "time"],
        "noop": [*common, "time"],
        "open": [*common, "order_id", "side", "price", "size", "time"],
    }
    return _encode({"type": "level3", "schema": schema})


def level3(product_id: str, dice: Random) -> bytes:
    """A message of the channel level3: an array, without names."""
    sequence, order_id = str(dice.getrandbits(40)), f"{dice.getrandbits(128):032x}"
    return _encode(["open", product_id, sequence, order_id, "buy", "100.00", "0.5", "2026-01-01T00:00:00.000001Z"])


def product_of(frame: bytes) -> str:
    """The product that a frame is about, or nothing."""
    try:
        return _decode_head(frame).product_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


class _Head(msgspec.Struct):
    product_id: str = ""


_decode_head = msgspec.json.Decoder(_Head).decode


def _field(fields: dict[str, Any], asked: str | None, dice: Random) -> str | None:
    if asked is None:
        return dice.choice(list(fields)) if fields else None
    return asked if asked in fields else None
