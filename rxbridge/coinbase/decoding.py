"""Frames of either feed to messages. A frame says itself which feed it came by, so a journal may hold both."""

from __future__ import annotations

import re

import msgspec

from rxbridge.coinbase import advanced, exchange
from rxbridge.messages import OWN_CONNECTION, Frame, Message

_OF_NO_BOOK = re.compile(rb'\{"(?:type":"(?!l2update"|snapshot")|channel":"(?!l2_data"))[a-z0-9_]+"').match


def decode(frame: Frame) -> tuple[Message, ...]:
    """The messages that a frame holds, in the order in which they happened: one, but on Advanced Trade none or many.

    What has a `channel` and `events` is Advanced Trade's; all else is the Exchange's, its errors included, which both
    feeds write alike. See `rxbridge.coinbase.exchange.decode` and `rxbridge.coinbase.advanced.decode`.

    Raises:
        MalformedFrame: The frame is no JSON, or holds something impossible; `rxbridge.coinbase.lenient.decode` says
            more.
    """
    return advanced.decode(frame) if _is_advanced(frame) else exchange.decode(frame)


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    channel: msgspec.Raw
    events: msgspec.Raw


_envelope_decoder = msgspec.json.Decoder(_Envelope)


def _is_advanced(frame: Frame) -> bool:
    data = frame.data
    if data.startswith(b'{"channel":'):
        return frame.connection != OWN_CONNECTION
    if data.startswith(b'{"type":') or frame.connection == OWN_CONNECTION:
        return False
    try:
        _envelope_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_of_no_book(data: bytes) -> bool:
    """Whether the beginning of a frame says that it is of no book, so that it costs none if it cannot be read."""
    return _OF_NO_BOOK(data) is not None
