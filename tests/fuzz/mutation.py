"""Mutations that know what JSON is made of, so that a damaged frame is still nearly one."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import TypeAlias

from tests.fuzz.seeds import WORDS

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?\d[\d.eE+-]*|true|false|null|[^\s\w]')

Mutation: TypeAlias = Callable[[bytes, random.Random], bytes]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to three of its parts replaced, repeated, removed, moved, wrapped, or damaged."""
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(_MUTATIONS)(data, chance)
    return data


def _part(data: bytes, chance: random.Random) -> tuple[int, int]:
    """Where one of the tokens begins and ends."""
    parts = [found.span() for found in _TOKEN.finditer(data)]
    return chance.choice(parts) if parts else (0, len(data))


def _replace(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + chance.choice(WORDS) + data[end:]


def _insert(data: bytes, chance: random.Random) -> bytes:
    start, _ = _part(data, chance)
    return data[:start] + chance.choice(WORDS) + data[start:]


def _remove(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 2, 50)) + data[end:]


def _exchange(data: bytes, chance: random.Random) -> bytes:
    (a, b), (c, d) = sorted((_part(data, chance), _part(data, chance)))
    return data if c < b else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _wrap(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'"', b'"')))
    times = chance.choice((1, 3, 33, 130))
    return data[:start] + opening * times + data[start:end] + closing * times + data[end:]


def _byte(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + bytes([chance.randrange(256)]) + data[place + chance.randrange(2) :]


def _within_text(data: bytes, chance: random.Random) -> bytes:
    start, end = _part(data, chance)
    if not data[start:end].startswith(b'"'):
        return _byte(data, chance)
    pieces = (
        rb"\u0000",
        rb"\ud800",
        rb"\n",
        b"\xe2\x80\xae",
        b"\xc2\x9b",
        b"\xf0\x9f\x98\x80",
        b"\x7f",
        b"e400",
        b"_",
        b" ",
    )
    return data[: end - 1] + chance.choice(pieces) + data[end - 1 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


_MUTATIONS: tuple[Mutation, ...] = (
    _replace, _replace, _insert, _remove, _repeat, _exchange, _wrap, _byte, _within_text, _within_text, _cut,
)  # fmt: skip
