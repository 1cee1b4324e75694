"""Signs what is asked of Advanced Trade. Public channels need no signature; one may be given all the same.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/guides/websocket
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from rxbridge.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _PrivateKey: TypeAlias = EllipticCurvePrivateKey | Ed25519PrivateKey

VALID_SECONDS: Final = 120
"""For how long Coinbase takes a token; each message has a fresh one."""

_SETTING = "key_file"
_EDWARDS_BYTES = 64
"""An Ed25519 key as Coinbase gives it: the 32 bytes of the private one, then those of the public one."""


class _KeyFile(msgspec.Struct, frozen=True, rename="camel"):
    private_key: str
    name: str = ""
    id: str = ""


def token_maker(key_file: str) -> Callable[[], str]:
    """What makes a token for each message, from the file of a key as Coinbase lets it be downloaded.

    That is JSON with the key's `name` (or `id`), and its `privateKey`: PEM of a P-256 or an Ed25519 key, or base64 of
    the latter.

    Raises:
        ConfigError: The file cannot be read, or holds no such key. The text has nothing of what it holds.
        MissingExtra: The package PyJWT or cryptography is not installed.
    """
    try:
        import jwt  # noqa: PLC0415, of an extra: who signs nothing does not need it
    except ImportError as error:
        raise MissingExtra("PyJWT", "key") from error
    try:
        held = msgspec.json.decode(Path(key_file).read_bytes(), type=_KeyFile)
    except OSError as error:
        raise ConfigError(_SETTING, f"cannot read {key_file}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        held = None
    # Raised out here, it carries no context: that one may hold a part of the key.
    name = (held.name or held.id) if held is not None else ""
    if held is None or not name:
        raise ConfigError(_SETTING, f"{key_file} is no JSON object with name and privateKey")
    key, algorithm = _parsed(held.private_key, key_file)

    def token() -> str:
        now = int(time.time())
        claims = {"sub": name, "iss": "cdp", "nbf": now, "exp": now + VALID_SECONDS}
        return jwt.encode(claims, key, algorithm, headers={"kid": name, "nonce": secrets.token_hex()})

    return token


def _parsed(private_key: str, key_file: str) -> tuple[_PrivateKey, str]:
    """The key, and the name of its algorithm (RFC 7518, RFC 8037)."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415, likewise
    except ImportError as error:
        raise MissingExtra("cryptography", "key") from error
    key = _from_pem(private_key) if private_key.lstrip().startswith("-----BEGIN") else _from_base64(private_key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key, "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key, "ES256"
    raise ConfigError(_SETTING, f"the privateKey of {key_file} is neither of P-256 nor of Ed25519")


def _from_pem(private_key: str) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415, likewise
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415, likewise

    try:
        return load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _from_base64(private_key: str) -> object:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415, likewise

    try:
        content = base64.b64decode(private_key, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(content) != _EDWARDS_BYTES:
        return None
    key = Ed25519PrivateKey.from_private_bytes(content[: _EDWARDS_BYTES // 2])
    return key if key.public_key().public_bytes_raw() == content[_EDWARDS_BYTES // 2 :] else None
