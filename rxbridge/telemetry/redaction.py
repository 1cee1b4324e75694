"""Takes secrets out of text, in whichever way they may be written there.

A server has the key, and may send it back in anything that it says: quoted, escaped, encoded, cut off. What it says
ends up in log lines and error messages, and those are read by people who are not to have the key.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "(hidden)"

_LONG = 24
"""Characters of a secret that is hidden when only its beginning is there, as it is where a text was cut off."""

_HEAD = 12
"""Characters that must be there of it. Fewer might be an everyday word."""


class Redactor:
    """Replaces every secret in a text by `(hidden)`.

    Found are, in upper and lower case: the secret as it is; as it stands in JSON, in a Python literal, in an address,
    in HTML, in hexadecimal; in base64, wherever it may begin in what was encoded; and in UTF-8 that was taken for
    Latin-1, or the reverse. Of one with 24 characters and more, the first twelve are enough. Not found is one that was
    taken apart, or encoded twice.

    Args:
        secrets: What must not be shown; empty ones are left out.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        heads = {_head(form) for form in forms}
        self._lower_heads = [head.lower() for head in heads]
        alternatives = "|".join(re.escape(head) for head in sorted(heads, key=len, reverse=True))
        self._heads = re.compile(alternatives, re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        lower = text.lower()
        if not any(head in lower for head in self._lower_heads):
            return text
        pieces: list[str] = []
        done = 0
        for found in self._heads.finditer(text):
            if found.start() < done:
                continue  # within what is hidden already
            pieces += (text[done : found.start()], HIDDEN)
            done = max(found.end(), found.start() + self._length(text, found.start()))
        return "".join([*pieces, text[done:]])

    def _length(self, text: str, start: int) -> int:
        """How many characters from `start` on are those of a secret."""
        return max(_common(form, text[start : start + len(form)]) for form in self._forms)


def _common(form: str, text: str) -> int:
    """The length of what both begin with; 0 if that is not enough to tell."""
    if form.lower() == text.lower():
        return len(form)
    count = 0
    for expected, there in zip(form.lower(), text.lower(), strict=False):
        if expected != there:
            break
        count += 1
    return count if count >= len(_head(form)) else 0


def _head(form: str) -> str:
    return form if len(form) < _LONG else form[:_HEAD]


def _forms(secret: str) -> Iterator[str]:
    encoded = secret.encode("utf-8", "surrogatepass")
    in_addresses = (quote(encoded), quote(encoded, safe=""), quote_plus(encoded))
    plain = {secret, secret.upper(), html.escape(secret), *in_addresses, *_misread(secret)}
    for form in plain:
        # In an answer in JSON, which an exception quotes, which a line in JSON tells.
        for shown in {form, repr(form)[1:-1], *_in_json(form)}:
            yield shown
            yield from _in_json(shown)
    yield encoded.hex()
    yield "".join(f"%{byte:02x}" for byte in encoded)
    yield "".join(f"\\u{ord(character):04x}" for character in secret)
    yield from _in_base64(encoded)


def _in_json(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _misread(secret: str) -> Iterator[str]:
    yield secret.encode("utf-8", "surrogatepass").decode("latin-1")
    yield secret.encode("latin-1", "replace").decode("utf-8", "backslashreplace")


def _in_base64(secret: bytes) -> Iterator[str]:
    """What is certain to be there when the secret is encoded, alone or after other bytes: groups of three become four.

    Characters that depend on what stands before or after are left out.
    """
    for before in range(3):
        padded = b"\0" * before + secret
        first = (before * 8 + 5) // 6
        last = len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = encode(padded).decode()[first:last]
            # A short one would be found in other words.
            if len(form) >= _HEAD:
                yield form
