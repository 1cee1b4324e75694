"""Recognizes Coinbase's answers to what we sent among the data, at next to no cost for the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

import msgspec

Pair: TypeAlias = tuple[str, str]
"""A channel and a product."""

_ANSWER_BYTES = 1_048_576
"""An acknowledgement of a thousand products on ten channels has some 120,000."""

_NOTHING = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Coinbase lists all that the connection is subscribed to now."""

    pairs: frozenset[Pair]


@dataclass(frozen=True, slots=True)
class Refused:
    """Coinbase refuses the whole of a message.

    Attributes:
        message: What is wrong.
        reason: Why; empty if it is not said.
        is_final: Whether nothing else that could be asked for would fare better.
    """

    message: str
    reason: str
    is_final: bool = False


def _as_it_is(refused: Refused) -> Refused:
    return refused


Answer: TypeAlias = Acknowledged | Refused


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What answers and data have in common; nothing is assumed of the types, so that no oddity hides an answer.

    The fields stay as they came until they are wanted, so that data take no memory here.

    Attributes:
        type: Of which kind a frame of the Exchange feed is, and on both feeds, that it is an error.
        message: What is wrong.
        reason: Why; on the Exchange feed only.
        channels: What the Exchange feed acknowledges.
        channel: Of which kind a frame of Advanced Trade is.
        events: What it holds, such as what Advanced Trade acknowledges.
    """

    type: msgspec.Raw = _NOTHING
    message: msgspec.Raw = _NOTHING
    reason: msgspec.Raw = _NOTHING
    channels: msgspec.Raw = _NOTHING
    channel: msgspec.Raw = _NOTHING
    events: msgspec.Raw = _NOTHING


_ERROR: Final = "error"
_ACKNOWLEDGEMENT: Final = "subscriptions"

_decoder = msgspec.json.Decoder(Envelope)
_text_decoder = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class Answers:
    """How the answers of a feed are told from its data, and read.

    Attributes:
        data: How data begin. Coinbase writes its fields in one order and without spaces, so nearly all data are told
            by that. Whatever begins otherwise is decoded, unless it is larger than any answer can be.
        kind: Where a frame says of which kind it is.
        acknowledged: The pairs that an acknowledgement lists; entries of odd shapes are none.
        explained: Says of a refusal what else is known about it.
    """

    data: tuple[bytes, ...]
    kind: Literal["type", "channel"]
    acknowledged: Callable[[Envelope], frozenset[Pair]]
    explained: Callable[[Refused], Refused] = _as_it_is

    def answer_in(self, data: bytes) -> Answer | None:
        """The answer that a frame holds; None for data."""
        if data.startswith(self.data) or len(data) > _ANSWER_BYTES:
            return None
        envelope = _decode(data)
        if envelope is None:
            return None
        match self._kind(envelope):
            case "error":
                return self.explained(Refused(_read_text(envelope.message) or "", _read_text(envelope.reason) or ""))
            case "subscriptions":
                return Acknowledged(self.acknowledged(envelope))
            case _:
                return None

    def is_data(self, data: bytes) -> bool:
        """Whether a frame is market data: neither an answer, nor something that is no message of this feed at all."""
        if data.startswith(self.data):
            return True
        if len(data) > _ANSWER_BYTES:
            return data.startswith(b"{")
        envelope = _decode(data)
        return envelope is not None and self._kind(envelope) not in (None, _ERROR, _ACKNOWLEDGEMENT)

    def _kind(self, envelope: Envelope) -> str | None:
        kind = _read_text(envelope.type)
        if kind == _ERROR or self.kind == "type":
            return kind
        return _read_text(envelope.channel)


def texts(value: object) -> list[str]:
    """The texts of a list; nothing of anything else."""
    return [item for item in items(value) if isinstance(item, str)]


def items(value: object) -> list[object]:
    """What a list holds; nothing of anything else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def fields(value: object) -> dict[str, object]:
    """The fields of a JSON object; none of anything else."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def read_any(raw: msgspec.Raw) -> object:
    """A field, whatever it is; None if it is missing or cannot be read."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _decode(data: bytes) -> Envelope | None:
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
