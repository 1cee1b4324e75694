"""GET: search, the rate limit, and the two kinds of health."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse

from rxbridge.pulsestream_server.answers import RouteError
from rxbridge.pulsestream_server.rate_limit import ADVERTISED_LIMIT, WINDOW_SECONDS
from rxbridge.pulsestream_server.service import Service, naive_utc
from rxbridge.pulsestream_server.store import EventRow, Filter
from rxbridge.pulsestream_server.stored_event import database_time
from rxbridge.pulsestream_server.validation import EventSeverity, EventType, SearchQuery, checked

VERSION = "0.1.0"
"""The version that the real server reports."""

_LARGEST_STATUS_CODE = 2**31 - 1
_LARGEST_OFFSET = 2**63 - 1


class ReadingRoutes:
    """What can be asked. Nothing here says anything about the database's health, as on the real server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def root(self, _request: Request) -> JSONResponse:
        """Who answers."""
        return JSONResponse({"name": "PulseStream", "version": VERSION, "health_url": "/health"})

    async def health(self, _request: Request) -> JSONResponse:
        """Always healthy."""
        timestamp = self._service.clock()
        body = {"status": "healthy", "version": VERSION, "timestamp": timestamp, "environment": "embedded"}
        return JSONResponse(body)

    async def ingestion_health(self, _request: Request) -> JSONResponse:
        """Always healthy, with figures that are constants."""
        body = {
            "status": "healthy",
            "timestamp": self._service.now().isoformat(),
            "ingestion_rate": 0.0,
            "queue_size": 0,
            "worker_status": "healthy",
            "last_event_received": None,
            "errors_last_hour": 0,
            "uptime_seconds": 3600,
        }
        return JSONResponse(body)

    async def rate_limit(self, request: Request) -> JSONResponse:
        """What is left of the limit that is advertised, which need not be the one that holds."""
        tenant = self._service.authenticate(request)
        used = self._service.limiter.used(tenant.id)
        body = {
            "limit": ADVERTISED_LIMIT,
            "remaining": max(0, ADVERTISED_LIMIT - used),
            "reset_time": naive_utc(self._service.limiter.resets_at()).isoformat(),
            "window_size_seconds": WINDOW_SECONDS,
            "exceeded": used >= ADVERTISED_LIMIT,
        }
        return JSONResponse(body)

    async def search(self, request: Request) -> JSONResponse:
        """The tenant's events, newest event timestamp first; severity, endpoint and user_id change nothing."""
        tenant = self._service.authenticate(request)
        started = self._service.clock()
        query = checked(SearchQuery, dict(request.query_params), where="query")
        matching = _filter(query)
        rows = self._service.store.select(tenant.id, matching, limit=query.limit, offset=query.offset)
        body = {
            "events": [_item(number, row) for number, row in rows],
            "total_count": self._service.store.count(tenant.id, matching),
            "filtered_count": len(rows),
            "has_more": len(rows) == query.limit,
            "search_id": str(uuid4()),
            "execution_time_ms": (self._service.clock() - started) * 1000,
        }
        return JSONResponse(body)


def _filter(query: SearchQuery) -> Filter:
    """What the database is asked for; an empty service and a status code of 0 ask for nothing.

    Raises:
        RouteError: 500, for a value that the real server passes on and then fails at.
    """
    try:
        event_type = None if query.event_type is None else EventType(query.event_type).value
        _ = None if query.severity is None else EventSeverity(query.severity)
        start, end = _bound(query.start_time), _bound(query.end_time)
    except (ValueError, OverflowError):
        raise RouteError(500, "Event search failed") from None
    too_large = abs(query.status_code or 0) > _LARGEST_STATUS_CODE or query.offset > _LARGEST_OFFSET
    if too_large or "\0" in (query.service or ""):
        raise RouteError(500, "Event search failed")
    return Filter(
        event_type=event_type,
        source_contains=query.service or None,
        status_code=query.status_code or None,
        start=start,
        end=end,
    )


def _bound(time: datetime | None) -> str | None:
    if time is not None and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return None if time is None else database_time(time)


def _item(number: int, row: EventRow) -> dict[str, Any]:
    return {
        "id": str(UUID(int=number)),
        "event_type": row.event_type,
        "source": row.source,
        "source_version": row.source_version,
        "timestamp": _api_time(row.event_timestamp),
        "ingested_at": _api_time(row.ingested_at),
        "status_code": row.status_code,
        "duration_ms": row.duration_ms,
        "payload": json.loads(row.payload),
        "metadata": json.loads(row.event_metadata),
        "external_id": row.external_id,
        "processing_status": "pending",
    }


def _api_time(database_time: str) -> str:
    return datetime.fromisoformat(database_time).isoformat() + "+00:00"
