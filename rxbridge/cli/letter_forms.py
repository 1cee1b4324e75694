"""How a dead letter is written: as a key, a JSON object, and for people to read."""

from __future__ import annotations

import base64
import json
from typing import Any

from rxbridge.cli.printing import moment, plain
from rxbridge.journal import DeadLetter

_SHOWN = 20_000


def key_of(letter: DeadLetter) -> str:
    """Its offset, and its event id if it has one."""
    return f"{letter.offset}:{letter.event_id}" if letter.event_id else str(letter.offset)


def summarized(letter: DeadLetter) -> str:
    """As one line of JSON, without the content."""
    return json.dumps(_fields(letter))


def exported(letter: DeadLetter) -> str:
    """As one line of JSON; the content as text, or as base64 where it is none."""
    try:
        content, encoding = letter.content.decode(), "text"
    except UnicodeDecodeError:
        content, encoding = base64.b64encode(letter.content).decode(), "base64"
    return json.dumps(_fields(letter) | {"encoding": encoding, "content": content})


def pretty(content: bytes) -> str:
    """The content to be read: JSON is laid out, anything else escaped; of either, the first 20,000 characters.

    No control character is left, so that a frame cannot forge what a terminal shows.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return repr(content[:_SHOWN])[2:-1]
    try:
        # `ensure_ascii` escapes all control characters but DEL.
        laid_out = json.dumps(json.loads(text), indent=2, ensure_ascii=True).replace("\x7f", "\\u007f")
    except (ValueError, RecursionError):
        return plain(text, _SHOWN)
    return laid_out if len(laid_out) <= _SHOWN else laid_out[:_SHOWN] + "\n…"


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "key": key_of(letter),
        "offset": letter.offset,
        "event_id": letter.event_id,
        "stage": letter.stage,
        "reason": letter.reason,
        "first_attempt": moment(letter.first_attempt),
        "last_attempt": moment(letter.last_attempt),
        "attempts": letter.attempts,
    }
