"""Whether a client's message is signed as Coinbase demands it: by a key that the simulator was given.

https://docs.cdp.coinbase.com/exchange/websocket-feed/authentication says what is signed. How Coinbase refuses is what
clients reported of the real feed; not all of the reasons were seen on a WebSocket, some are those of its REST API.
"""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from rxbridge.errors import ConfigError

REFUSED = "Sorry, you could not be authenticated: Bad Request"

VALID_SECONDS = 30.0
"""How old a signature may be, or how far in the future."""


class Credentials(NamedTuple):
    """A key, its secret in base64, and its passphrase."""

    key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "Credentials(hidden)"


class _Signed(msgspec.Struct, rename={"sent_key": "key"}):
    signature: str = ""
    sent_key: str = ""
    passphrase: str = ""
    timestamp: str = ""


class Authentication:
    """Knows one key.

    Args:
        credentials: The key.
        clock: Tells the time in seconds since the Unix epoch.

    Raises:
        ConfigError: Something of the key is empty, or the secret is no base64.
    """

    def __init__(self, credentials: Credentials, clock: Callable[[], float] = time.time) -> None:
        if not all(credentials):
            raise ConfigError("api_key", "key, secret and passphrase belong together")
        try:
            self._secret = b64decode(credentials.secret, validate=True)
        except (Error, ValueError):
            self._secret = b""
        if not self._secret:
            raise ConfigError("api_secret", "is not base64")
        self._credentials = credentials
        self._clock = clock

    def is_signed(self, message: str | bytes) -> bool:
        """Whether a message claims to be signed, rightly or not."""
        signed = _read(message)
        return signed is not None and bool(signed.signature or signed.sent_key)

    def problem(self, message: str | bytes) -> str | None:
        """Why a message that claims to be signed is not; None if it is."""
        signed = _read(message) or _Signed()
        if signed.sent_key != self._credentials.key:
            return "Invalid API Key"
        if signed.passphrase != self._credentials.passphrase:
            return "Invalid Passphrase"
        try:
            age = self._clock() - float(signed.timestamp)
        except ValueError:
            return "invalid timestamp"
        if not abs(age) <= VALID_SECONDS:
            return "request timestamp expired"
        text = signed.timestamp + "GET" + "/users/self/verify"
        expected = b64encode(hmac.new(self._secret, text.encode(), "sha256").digest())
        return None if hmac.compare_digest(expected, signed.signature.encode()) else "invalid signature"


def _read(message: str | bytes) -> _Signed | None:
    try:
        return msgspec.json.decode(message, type=_Signed)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # what it is instead, whoever reads the rest of it says
