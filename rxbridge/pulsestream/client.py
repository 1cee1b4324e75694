"""PulseStream's ingestion API, as far as a bridge needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.address import Address, parse_address
from rxbridge.pulsestream.answers import BatchAnswer, decode, failure, read_batch
from rxbridge.pulsestream.transport import Transport

Shape = TypeVar("Shape")


class FoundEvent(msgspec.Struct, frozen=True):
    """A stored event as the search returns it, without its payload.

    Attributes:
        id: Of the row; an event that is stored twice has two.
        external_id: The event id that its sender gave.
        timestamp: The event's, as the server wrote it.
        source: The service that it is from.
    """

    id: str
    external_id: str | None
    timestamp: str
    source: str | None = None


class SearchPage(msgspec.Struct, frozen=True):
    """A page of a search: newest timestamp first, those with the same timestamp in an order that is not fixed."""

    events: list[FoundEvent]
    total_count: int


class _RateLimit(msgspec.Struct):
    limit: int


class _Health(msgspec.Struct):
    status: str


class PulseStreamClient:
    """A client for one tenant: one connection, one request at a time, from whichever thread.

    Args:
        url: PulseStream's base, or any address of its ingestion API.
        key: The tenant's API key.
        connect_timeout_seconds: How long opening a connection, or sending, may stall.
        read_timeout_seconds: How long the server may be silent, and how long an answer may take to arrive. A batch
            takes about 4 ms an event on an idle server.
        ca_file: Certificates to trust instead of the usual ones.
        max_answer_bytes: A longer answer is an error.
        clock: Unix time in seconds.
        monotonic: Seconds that only rise.

    Raises:
        ConfigError: The address, the key or the certificate file is not usable.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 120.0,
        ca_file: str | Path | None = None,
        max_answer_bytes: int = 32 * 2**20,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address: Address = parse_address(url)
        self._transport = Transport(
            key,
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
            ca_file=ca_file,
            max_answer_bytes=max_answer_bytes,
            clock=clock,
            monotonic=monotonic,
        )

    def __repr__(self) -> str:
        return f"PulseStreamClient({self.address.base!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A further request opens a new one."""
        self._transport.close()

    def post_batch(self, events: Sequence[EncodedEvent]) -> BatchAnswer:
        """Send events, at least one, in one request.

        Returns:
            What became of each. The server sends its 200 before it commits, so "stored" is no proof yet; the same
            events sent again, and called already stored, are one.

        Raises:
            Unreachable: There is no answer; the server most probably does not have the events.
            ReadTimedOut: There is none in time; the server may still be working on the events.
            Throttled: The rate limit is used up, and nothing was stored.
            Unauthorized: The key was refused.
            ServerFailed: Any other answer; the events count as not stored.
        """
        body = b'{"events":[' + b",".join([event.body for event in events]) + b"]}"
        answer = self._transport.exchange("POST", self.address.batch, body=body)
        return read_batch(answer, events, self._transport.hide)

    def check(self) -> None:
        """Ask whether PulseStream is up and takes the key.

        Raises:
            DeliveryError: As for `post_batch`.
        """
        self._get(self.address.health, _Health)
        self._get(self.address.rate_limit, _RateLimit)

    def search(
        self,
        *,
        service: str,
        start: str,
        end: str,
        limit: int,
        offset: int = 0,
        timeout_seconds: float | None = None,
    ) -> SearchPage:
        """One page of what is stored.

        Args:
            service: A part of `source.service`, in any case; `%` and `_` are wildcards in it.
            start: The oldest timestamp, inclusive, in ISO 8601. One without an offset is read in the server's own time
                zone, as it was when the events were stored.
            end: The newest timestamp, inclusive, likewise.
            limit: Rows, up to 1000.
            offset: Rows to skip.
            timeout_seconds: How long the answer may take, instead of `read_timeout_seconds`.

        Raises:
            DeliveryError: As for `post_batch`.
        """
        query = {"service": service, "start_time": start, "end_time": end, "limit": str(limit), "offset": str(offset)}
        return self._get(self.address.search, SearchPage, query, timeout_seconds)

    def _get(
        self,
        url: str,
        shape: type[Shape],
        query: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Shape:
        answer = self._transport.exchange("GET", url, query=query, read_timeout_seconds=timeout_seconds)
        if answer.status != HTTPStatus.OK:
            raise failure(answer, self._transport.hide)
        return decode(msgspec.json.Decoder(shape), answer, self._transport.hide)
