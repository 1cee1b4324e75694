"""Whether PulseStream takes the key, asked before anything else is sent."""

from __future__ import annotations

import threading
from contextlib import closing

from loguru import logger

from rxbridge.errors import RxBridgeError, Unauthorized
from rxbridge.pulsestream.client import PulseStreamClient

_TRIES = 3


def check_key(client: PulseStreamClient, stop: threading.Event) -> None:
    """Ask with this client, which is closed then; return when the key is taken, when nobody can say, or at `stop`.

    Raises:
        Unauthorized: The key was refused several times in a row.
    """
    with closing(client):
        for attempt in range(1, _TRIES + 1):
            try:
                client.check()
            except Unauthorized:
                if attempt == _TRIES:
                    raise
                if not stop.wait(1):
                    continue
            except RxBridgeError as error:
                # PulseStream being down is no reason not to start: the journal holds the frames meanwhile.
                logger.warning("[WAITING] {}", error)
            return
