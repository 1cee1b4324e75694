"""HTTP answers that must be there by a deadline, from their first line to their last.

A socket's time limit starts anew with every byte, and so does that of the libraries above it. A server that sends a
header a byte at a time, or one `100 Continue` after another, or trailers without end, would hold its client for ever.
"""

from __future__ import annotations

import io
import socket
from http.client import HTTPResponse
from time import monotonic
from typing import Any

from requests import Response, Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class DirectSession(Session):
    """A session that does not even look into redirects, and takes nothing from the environment.

    Where it is told not to follow one, `requests` all the same reads the whole of its body, unpacked, into memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def get_redirect_target(self, resp: Response) -> None:
        """None, whatever the answer says."""
        del resp


class TimelyAdapter(HTTPAdapter):
    """For a `requests` session: the read time-out of a request bounds the whole of its answer, header and all."""

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """As `HTTPAdapter` does, with connections of ours."""
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """As `HTTPAdapter` does, with connections of ours."""
        manager = super().proxy_manager_for(proxy, **settings)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _TimelyReader(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, source: io.RawIOBase, connection: socket.socket, seconds: float) -> None:
        super().__init__()
        self._source = source
        self._connection = connection
        self._deadline = monotonic() + seconds

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """As the socket does; TimeoutError after the deadline, however much there is to read."""
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        return self._source.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._source.close()
        super().close()


class _TimelyResponse(HTTPResponse):
    """An answer for which there is as much time as the socket says at its beginning."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        seconds = sock.gettimeout()
        if seconds is not None:
            source = self.fp.detach()
            self.fp = io.BufferedReader(_TimelyReader(source, sock, seconds))


class _TimelyConnection(HTTPConnection):
    response_class = _TimelyResponse


class _TimelySecureConnection(HTTPSConnection):
    response_class = _TimelyResponse


class _TimelyPool(HTTPConnectionPool):
    ConnectionCls = _TimelyConnection  # pyright: ignore[reportAssignmentType], urllib3's own is no better fit


class _TimelySecurePool(HTTPSConnectionPool):
    ConnectionCls = _TimelySecureConnection  # pyright: ignore[reportAssignmentType]


_POOLS = {"http": _TimelyPool, "https": _TimelySecurePool}
