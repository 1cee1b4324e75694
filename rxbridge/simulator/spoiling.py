"""Faults of single frames: what becomes of each frame on its way to one client."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from rxbridge.faults import Fault, Faults
from rxbridge.simulator import damage

DATA = frozenset(
    {"ticker", "match", "last_match", "heartbeat", "snapshot", "l2update", "status"}
    | {"market_trades", "ticker_batch", "candles", "l2_data", "heartbeats"}
)
"""The wire types, of Advanced Trade the channels, that carry data. The others answer the client; a fault hits them only
if it names their type."""


class Outgoing(NamedTuple):
    """A frame as it is sent; `kind` is its wire type, or the kind of fault that made it up."""

    kind: str
    data: bytes
    text: bool = True


DAMAGES = ("clock", "last_trade_id_zero", "missing_field", "null_field", "truncate")
"""In the order in which they are done: what is cut off cannot be read again."""

INVENTIONS = ("garbage", "binary", "huge", "unknown", "level3")

FRAME_KINDS = ("drop", "duplicate", "reorder", *DAMAGES, *INVENTIONS)


class Spoiler:
    """Spoils the frames of one client, as the schedule says."""

    def __init__(self, faults: Faults, dice: Random) -> None:
        """Begin with a connection.

        Args:
            faults: The schedule.
            dice: Where a frame is cut, which field is hit, what garbage says.
        """
        self._faults = faults
        self._dice = dice
        self._kinds = frozenset(fault.kind for fault in faults.of(*FRAME_KINDS))
        self._held: Outgoing | None = None
        self._still_to_pass = 0
        self._knows_level3 = False

    def spoil(self, kind: str, frame: bytes) -> list[Outgoing]:
        """What to send instead of a frame, in order; nothing if it is lost or held back.

        A frame that is held back when the connection ends is lost.
        """
        if not self._kinds:
            return [Outgoing(kind, frame)]
        outgoing: list[Outgoing] = []
        if self._strikes("drop", kind, frame) is None:
            damaged = self._damaged(kind, frame)
            if not self._holds_back(kind, frame, damaged):
                outgoing += [damaged] * (1 if self._strikes("duplicate", kind, frame) is None else 2)
                outgoing += self._released()
        outgoing += self._inventions(kind, frame)
        return outgoing

    def _strikes(self, name: str, kind: str, frame: bytes) -> Fault | None:
        """The fault of this kind that hits this frame; it has been counted."""
        if name not in self._kinds:
            return None
        for fault in self._faults.lasting(name):
            if _concerns(fault, kind, frame) and self._faults.happens(fault):
                self._faults.fired(fault)
                return fault
        return None

    def _damaged(self, kind: str, frame: bytes) -> Outgoing:
        data = frame
        for name in DAMAGES:
            for fault in self._faults.lasting(name) if name in self._kinds else ():
                if not _concerns(fault, kind, frame) or not self._faults.happens(fault):
                    continue
                if (changed := _damaged_by(fault, data, self._dice)) is not None:
                    data = changed
                    self._faults.fired(fault)
        return Outgoing(kind, data)

    def _holds_back(self, kind: str, frame: bytes, outgoing: Outgoing) -> bool:
        """Hold one frame at a time: a frame that overtakes is not held back itself."""
        if self._held is not None or (fault := self._strikes("reorder", kind, frame)) is None:
            return False
        self._held = outgoing
        self._still_to_pass = fault.whole("places")
        return True

    def _released(self) -> list[Outgoing]:
        """Called when a frame goes out: the one that was held back, if enough have overtaken it."""
        self._still_to_pass -= 1
        if self._held is None or self._still_to_pass > 0:
            return []
        released, self._held = self._held, None
        return [released]

    def _inventions(self, kind: str, frame: bytes) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        if self._kinds.isdisjoint(INVENTIONS):
            return outgoing
        about = damage.head_of(frame)
        for name in INVENTIONS:
            if name == "level3" and about.is_advanced:
                # There is no such channel there.
                continue
            if (fault := self._strikes(name, kind, frame)) is None:
                continue
            if name == "level3" and not self._knows_level3:
                self._knows_level3 = True
                outgoing.append(Outgoing(name, damage.level3_schema()))
            data = _invented_by(fault, about, self._dice)
            outgoing.append(Outgoing(name, data, text=name != "binary"))
        return outgoing


def _damaged_by(fault: Fault, data: bytes, dice: Random) -> bytes | None:
    """The damaged frame; None if there is nothing in it to damage in this way."""
    match fault.kind:
        case "clock":
            return damage.at_another_time(data, fault.number("offset_seconds"))
        case "last_trade_id_zero":
            return damage.knowing_no_trade(data)
        case "missing_field":
            return damage.without_field(data, _named(fault, "field"), dice)
        case "null_field":
            return damage.with_null(data, _named(fault, "field"), dice)
        case _:
            return damage.truncated(data, dice)


def _invented_by(fault: Fault, about: damage.Head, dice: Random) -> bytes:
    match fault.kind:
        case "garbage":
            text = _named(fault, "text")
            return damage.garbage(dice) if text is None else text.encode()
        case "binary":
            return damage.binary(dice)
        case "huge":
            return damage.huge(fault.whole("bytes"), about)
        case "unknown":
            return damage.unknown(about, dice)
        case _:
            return damage.level3(about.product_id, dice)


def _concerns(fault: Fault, kind: str, frame: bytes) -> bool:
    if fault.kind == "last_trade_id_zero" and kind != "heartbeat":
        return False
    asked = _named(fault, "type")
    if (kind not in DATA) if asked is None else (kind != asked):
        return False
    product = _named(fault, "product")
    return product is None or product == damage.head_of(frame).product_id


def _named(fault: Fault, parameter: str) -> str | None:
    value = fault.parameters.get(parameter)
    return value if isinstance(value, str) else None
