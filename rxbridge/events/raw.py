"""The frame as it stands in its event: byte for byte, unless PulseStream would refuse or choke on it."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, cast

import msgspec

from rxbridge.events.cleaning import clean

MAXIMUM_BYTES = 1 << 20
"""A larger frame is left out of its event: the server takes a payload of 10 MiB, and measures it parsed and written
again, which may make it six times as long. Coinbase's tickers and matches have some 400 bytes."""

MAXIMUM_DEPTH = 32
"""Levels of nesting that are kept: parsers give up somewhere in the hundreds. Tickers and matches have one."""

# One object of plain values: printable ASCII without escapes, and numbers that any parser can hold.
_TEXT = rb'"[ !#-\[\]-~]*+"'
_VALUE = rb"(?:" + _TEXT + rb"|-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?|null|true|false)"
_FIELD = _TEXT + rb": ?" + _VALUE
_HARMLESS = re.compile(rb"\{" + _FIELD + rb"(?:, ?" + _FIELD + rb")*+\}").fullmatch


def embeddable(data: bytes) -> bytes:
    """The frame as JSON that PulseStream takes: `data` itself if it does, else something like it.

    NUL and halves of surrogate pairs become U+FFFD; NaN, Infinity and numbers beyond a double become text. What is
    nested more than 32 levels, or is no JSON, becomes the text of the frame, and what is larger than 1 MiB is only
    measured: `{"omitted_bytes": 2000000}`.
    """
    if len(data) > MAXIMUM_BYTES:
        return msgspec.json.encode({"omitted_bytes": len(data)})
    return data if _HARMLESS(data) else _Cleaner().run(data)


class _Cleaner:
    """Cleans one frame, and knows afterwards whether there was anything to clean."""

    def __init__(self) -> None:
        self._changed = False

    def run(self, data: bytes) -> bytes:
        parser = json.JSONDecoder(parse_float=self._float, parse_int=self._int, parse_constant=self._constant)
        try:
            value = self._clean(parser.decode(data.decode()), MAXIMUM_DEPTH)
        except (ValueError, RecursionError):
            return msgspec.json.encode(clean(data.decode("utf-8", "replace")))
        return msgspec.json.encode(value) if self._changed else data

    def _clean(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if not isinstance(value, (dict, list)):
            return value
        if depth == 0:
            raise ValueError("nested too deeply")
        if isinstance(value, list):
            return [self._clean(item, depth - 1) for item in cast("list[Any]", value)]
        fields = cast("dict[str, Any]", value)
        cleaned = {self._text(key): self._clean(item, depth - 1) for key, item in fields.items()}
        if len(cleaned) < len(fields):
            raise ValueError("two keys became one")
        return cleaned

    def _text(self, text: str) -> str:
        cleaned = clean(text)
        self._changed |= cleaned != text
        return cleaned

    def _int(self, token: str) -> int | str:
        return int(token) if isfinite(float(token)) else self._constant(token)

    def _float(self, token: str) -> float | str:
        number = float(token)
        return number if isfinite(number) else self._constant(token)

    def _constant(self, token: str) -> str:
        self._changed = True
        return token
