"""Where PulseStream is: one address from the user, every path from it."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from rxbridge.errors import ConfigError

_SETTING = "pulsestream.url"
_API = "/api/v1"
_INGESTION = f"{_API}/ingestion"
_KNOWN_ENDS = (f"{_INGESTION}/events/batch", f"{_INGESTION}/events", _INGESTION, _API)


class Address(msgspec.Struct, frozen=True):
    """PulseStream's address.

    Attributes:
        base: Scheme, host, port and, behind a proxy, a path prefix; without a slash at the end.
    """

    base: str

    @property
    def batch(self) -> str:
        """Takes many events."""
        return f"{self.base}{_INGESTION}/events/batch"

    @property
    def search(self) -> str:
        """Gives events back."""
        return f"{self.base}{_INGESTION}/events/search"

    @property
    def rate_limit(self) -> str:
        """Tells the tenant's rate limit: the cheapest request that needs a valid key."""
        return f"{self.base}{_INGESTION}/rate-limit"

    @property
    def health(self) -> str:
        """Says whether the process is up; needs no key."""
        return f"{self.base}/health"


def parse_address(url: str) -> Address:
    """Read what the user gave: the base, or any address of the ingestion API down to its `/events/batch`.

    Raises:
        ConfigError: It is no such address, or it holds a credential. The message never repeats the address.
    """
    url = url.strip()
    if not url.isprintable() or any(character.isspace() for character in url):
        raise ConfigError(_SETTING, "holds blanks or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(_SETTING, "is no valid address", f"the {_blame(error)} cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ConfigError(_SETTING, "is no valid address", "write it like http://localhost:8000")
    _refuse_credentials(parts)
    path = parts.path.rstrip("/")
    for end in _KNOWN_ENDS:
        if path.endswith(end):
            path = path.removesuffix(end)
            break
    return Address(urlunsplit((parts.scheme, parts.netloc, path.rstrip("/"), "", "")))


def _refuse_credentials(parts: SplitResult) -> None:
    """Addresses end up in logs, process lists and proxies: nothing secret may be in one."""
    if "@" in parts.netloc + parts.path:  # a slash in a password makes it a path
        raise ConfigError(_SETTING, "holds a user name or a password", "the API key is a setting of its own")
    if parts.query or parts.fragment:
        raise ConfigError(_SETTING, "has a query or a fragment", "the API key is a setting of its own")


def _blame(error: ValueError) -> str:
    return "port" if "port" in str(error).lower() else "host"
