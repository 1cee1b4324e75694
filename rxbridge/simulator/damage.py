"""What damaged frames and frames of nonsense look like: pure functions of bytes and dice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any, NamedTuple, cast

import msgspec

from rxbridge.simulator.advanced.wire import timestamp

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
ADVANCED_BOOK_LEVEL = {
    "side": "bid",
    "event_time": "2026-01-01T00:00:00.000001Z",
    "price_level": "65000",
    "new_quantity": "0.00000001",
}

TIMES = ("time", "timestamp", "event_time")
"""The names of what tells a time in UTC, on either feed."""


def truncated(frame: bytes, dice: Random) -> bytes | None:
    """Its beginning, at least a byte, and never all of it; None if it has no more than that."""
    return frame[: dice.randrange(1, len(frame))] if len(frame) > 1 else None


def without_field(frame: bytes, field: str | None, dice: Random) -> bytes | None:
    """The frame without a field, or without any one of them; None if it has no such field.

    The fields of what is in a frame, such as trades, are fields as well.
    """
    fields = _decode_object(frame)
    place = _place(fields, field, dice)
    if place is None:
        return None
    holder, name = place
    del holder[name]
    return _encode(fields)


def with_null(frame: bytes, field: str | None, dice: Random) -> bytes | None:
    """The frame with null in a field, or in any one of them; None if it has no such field."""
    fields = _decode_object(frame)
    place = _place(fields, field, dice)
    if place is None:
        return None
    holder, name = place
    holder[name] = None
    return _encode(fields)


def at_another_time(frame: bytes, offset_seconds: float) -> bytes | None:
    """The frame with all its times moved, in the same form; None if it has none."""
    fields = _decode_object(frame)
    times = [(holder, name) for holder in _objects(fields) for name in TIMES if isinstance(holder.get(name), str)]
    for holder, name in times:
        holder[name] = _moved(holder[name], round(offset_seconds * 1_000_000_000))
    return _encode(fields) if times else None


def knowing_no_trade(heartbeat: bytes) -> bytes:
    """The heartbeat with 0 for the last trade id, which the feed sent for years."""
    return _encode(_decode_object(heartbeat) | {"last_trade_id": 0})


def garbage(dice: Random) -> bytes:
    """Text that is no message, and that may hurt who takes it for one. Some of it is no UTF-8."""
    return dice.choice((*_GARBAGE, bytes(dice.choices(range(32, 127), k=dice.randint(1, 200)))))


def binary(dice: Random) -> bytes:
    """Bytes at random."""
    return dice.randbytes(BINARY_BYTES)


def huge(size: int, about: Head) -> bytes:
    """An order book of `size` bytes, or a little more than that where it is very small."""
    product_id = _encode(about.product_id)
    if about.is_advanced:
        head = b'{"channel":"l2_data","events":[{"type":"snapshot","product_id":' + product_id + b',"updates":['
        level, end = _encode(ADVANCED_BOOK_LEVEL), b"]}]}"
    else:
        head = b'{"type":"snapshot","product_id":' + product_id + b',"asks":[],"bids":['
        level, end = _encode(BOOK_LEVEL), b"]}"
    levels = max(1, (size - len(head) - len(end)) // (len(level) + 1))
    body = head + b",".join([level] * levels) + end
    return body + b" " * (size - len(body))


def unknown(about: Head, dice: Random) -> bytes:
    """A message of a type, or of a channel, that there is not."""
    name, product_id = f"new_in_{dice.randint(2027, 2099)}", about.product_id
    if about.is_advanced:
        return _encode({"channel": name, "events": [{"type": "update", "product_id": product_id, "more": [{}]}]})
    return _encode({"type": name, "product_id": product_id, "sequence": 1, "more": [{}]})


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


class Head(NamedTuple):
    """What a frame is about: a product, or nothing; and whose frame it is."""

    product_id: str
    is_advanced: bool


def head_of(frame: bytes) -> Head:
    """What a frame is about."""
    try:
        head = _decode_head(frame)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Head("", is_advanced=False)
    named = (item.product_id for event in head.events for item in event.items)
    return Head(head.product_id or next(filter(None, named), ""), bool(head.channel))


class _Item(msgspec.Struct):
    product_id: str = ""


class _Event(msgspec.Struct):
    product_id: str = ""
    trades: list[_Item] = []
    tickers: list[_Item] = []
    candles: list[_Item] = []

    @property
    def items(self) -> tuple[_Event | _Item, ...]:
        return (self, *self.trades, *self.tickers, *self.candles)


class _Head(msgspec.Struct):
    product_id: str = ""
    channel: str = ""
    events: list[_Event] = []


_decode_head = msgspec.json.Decoder(_Head).decode


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """All objects in a value, itself included."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        yield fields
        for held in fields.values():
            yield from _objects(held)
    elif isinstance(value, list):
        for held in cast("list[object]", value):
            yield from _objects(held)


def _place(frame: dict[str, Any], asked: str | None, dice: Random) -> tuple[dict[str, Any], str] | None:
    """An object in a frame, and the name of a field that it has: the one asked for, or any."""
    places = [(holder, name) for holder in _objects(frame) for name in holder if asked in (None, name)]
    return dice.choice(places) if places else None


def _moved(time: str, offset_ns: int) -> str:
    """A time in UTC, which may tell nanoseconds, moved; without the zeros that end its fraction."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return timestamp(seconds * 1_000_000_000 + int(f"{fraction:0<9}") + offset_ns)
