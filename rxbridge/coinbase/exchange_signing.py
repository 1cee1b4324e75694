"""Signs what is asked of the Exchange, on the channels that need a key.

https://docs.cdp.coinbase.com/exchange/websocket-feed/authentication
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final

from rxbridge.errors import ConfigError

CLOCK_SECONDS: Final = 30
"""How far the time of a signature may be from Coinbase's own."""

_SIGNED: Final = "GET/users/self/verify"
"""What is signed, after the time: method and path of a request that is never sent."""


def signer(
    key: str, secret: str, passphrase: str, clock: Callable[[], float] = time.time
) -> Callable[[], Mapping[str, str]]:
    """What makes the fields that sign a message: another time and signature at each call.

    The signature is base64 of the HMAC-SHA256, under the secret, of the time in whole seconds and the request.

    Args:
        key: The key, as Coinbase gives it.
        secret: Likewise: base64.
        passphrase: Likewise; whoever made the key has chosen it.
        clock: Tells the time in seconds since the Unix epoch.

    Raises:
        ConfigError: The secret is no base64. The text has nothing of it.
    """
    try:
        decoded = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    # Raised out here, it carries no context: that one may hold a part of the secret.
    if not decoded:
        raise ConfigError("feed.api_secret", "is not base64, as the secret of a key of Coinbase Exchange is")

    def sign() -> Mapping[str, str]:
        # As text: Coinbase takes a number for a message that is none.
        timestamp = str(int(clock()))
        digest = hmac.digest(decoded, f"{timestamp}{_SIGNED}".encode(), hashlib.sha256)
        signature = base64.b64encode(digest).decode()
        return {"signature": signature, "key": key, "passphrase": passphrase, "timestamp": timestamp}

    return sign
