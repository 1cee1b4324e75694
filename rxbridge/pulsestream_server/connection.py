"""A client's connection, which can be ended in ways that HTTP does not foresee."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Scope
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_KEY = "rxbridge.connection"


class Connection(H11Protocol):
    """What uvicorn makes for each client; the application finds it with `Connection.of`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, _KEY: self}, _loop)

    @staticmethod
    def of(scope: Scope) -> Connection:
        """The one that a request came by."""
        return scope["state"][_KEY]

    def reset(self) -> None:
        """End it with a TCP reset: what the client still sends, or waits for, is lost."""
        # Linger for no time at all: this makes the kernel send RST for FIN.
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def hang_up(self) -> None:
        """Close it after what was sent, without a `Connection: close` that would have told the client."""
        self.transport.close()

    def retire(self) -> None:
        """Close it if it is idle; else after the answer to the request that runs."""
        if not self.transport.is_closing():
            self.shutdown()
