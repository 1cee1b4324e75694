"""A sink that shows what would be sent."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from loguru import logger
from reactivex.abc import ObserverBase

from rxbridge.events import EncodedEvent
from rxbridge.telemetry.statistics import DeliveryStatistics

_ONE_LINE = bytes.maketrans(b"\r\n\t", b"   ")
"""A body may hold a frame byte for byte; in JSON these are blanks between two of its parts."""

_UNSEEN = re.compile(r"[^\x20-\x7e]")


def _escape(found: re.Match[str]) -> str:
    """What a terminal might obey, as JSON writes it: outside of ASCII there is only text in what is printed."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


class DryRunSink(ObserverBase[Sequence[EncodedEvent]]):
    r"""Prints each batch as one line, the body of the request that would be sent: `{"events":[...]}`.

    Args:
        stream: Where to print. When it takes no more (`| head`), nothing further is printed or acknowledged.
        settled: Called once a batch, after it was printed.
        statistics: Where to count; printed events count as delivered.
    """

    def __init__(
        self,
        stream: TextIO,
        settled: Callable[[Sequence[EncodedEvent]], None],
        statistics: DeliveryStatistics | None = None,
    ) -> None:
        self._stream = stream
        self._settled = settled
        self._statistics = DeliveryStatistics() if statistics is None else statistics
        self._abandoned = False

    @property
    def abandoned(self) -> bool:
        """Whether a batch could not be printed; no further ones are taken then."""
        return self._abandoned

    def on_next(self, value: Sequence[EncodedEvent]) -> None:
        """Print a batch."""
        if self._abandoned or not value:
            return
        bodies = [event.body.translate(_ONE_LINE) for event in value]
        line = (b'{"events":[' + b",".join(bodies) + b"]}").decode()
        try:
            self._stream.write(_UNSEEN.sub(_escape, line) + "\n")
            self._stream.flush()
            self._settled(value)
        except BrokenPipeError:
            self._abandoned = True
            logger.info("[STOPPED] Nobody reads the dry run any more")
            return
        except Exception:  # noqa: BLE001 - raised, it would end the stream without a word
            self._abandoned = True
            logger.exception("[STOPPED] The dry run cannot go on")
            return
        self._statistics.delivered += len(value)
        self._statistics.last_delivery_at = time.time_ns()

    def on_error(self, error: Exception) -> None:
        """The stream is dead."""
        logger.opt(exception=error).error("[FATAL] The stream of batches has ended: {}", error)

    def on_completed(self) -> None:
        """The stream is complete; every batch that came was printed."""
