"""The routes, put together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxbridge.pulsestream_server.account_routes import AccountRoutes
from rxbridge.pulsestream_server.answers import (
    FrameworkError,
    RouteError,
    answer_framework_error,
    answer_route_error,
    answer_unhandled,
)
from rxbridge.pulsestream_server.ingestion_routes import IngestionRoutes
from rxbridge.pulsestream_server.latency import Latency
from rxbridge.pulsestream_server.reading_routes import ReadingRoutes
from rxbridge.pulsestream_server.service import Service
from rxbridge.pulsestream_server.store import Store

_API = "/api/v1"

# In this order: `/events/types` and `/events/severities` are taken for an event's id, there as here.
_BROKEN = (
    ("GET", "/ingestion/events/{event_id}", "Failed to retrieve event"),
    ("DELETE", "/ingestion/events/{event_id}", "Failed to delete event"),
    ("POST", "/ingestion/events/{event_id}/retry", "Failed to retry event processing"),
    ("GET", "/ingestion/stats", "Failed to retrieve ingestion statistics"),
    ("GET", "/alerting/rules", "Failed to retrieve alert rules"),
)
"""Routes that always answer 500 to a valid key, and with what."""


def create_application(
    store: Store,
    *,
    rate_limit: int = 100,
    latency_seconds: float = 0.0,
    clock: Callable[[], float] = time.time,
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    """The API as an ASGI application.

    Args:
        store: The database; whoever made it closes it, after the application.
        rate_limit: Events per tenant and minute; 0 for no limit.
        latency_seconds: How long each answer is held back.
        clock: Gives Unix time in seconds: what counts as now, and as this minute.
        middleware: What wraps the application, outermost first; the place for a fault.
    """
    service = Service(store, rate_limit=rate_limit, clock=clock)
    wrappers = list(middleware)
    if latency_seconds > 0:
        wrappers.append(Middleware(Latency, seconds=latency_seconds))
    return Starlette(
        routes=list(_routes(service)),
        middleware=wrappers,
        exception_handlers={
            RouteError: answer_route_error,
            FrameworkError: answer_framework_error,
            HTTPException: answer_framework_error,
            Exception: answer_unhandled,
        },
    )


def _routes(service: Service) -> Iterator[Route]:
    account = AccountRoutes(service)
    ingestion = IngestionRoutes(service)
    reading = ReadingRoutes(service)
    yield _route("GET", "/", reading.root)
    yield _route("GET", "/health", reading.health)
    yield _route("POST", _API + "/auth/register/tenant", account.register_tenant)
    yield _route("POST", _API + "/ingestion/events", ingestion.post_event)
    yield _route("POST", _API + "/ingestion/events/batch", ingestion.post_batch)
    yield _route("GET", _API + "/ingestion/events/search", reading.search)
    yield _route("GET", _API + "/ingestion/health", reading.ingestion_health)
    yield _route("GET", _API + "/ingestion/rate-limit", reading.rate_limit)
    yield _route("POST", _API + "/alerting/rules", account.add_alert_rule)
    for method, path, message in _BROKEN:
        yield _route(method, _API + path, _broken(service, message))


def _route(method: str, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    route = Route(path, endpoint, methods=[method])
    # Starlette adds HEAD to GET; the real server answers it with 405.
    route.methods = {method}
    return route


def _broken(service: Service, message: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        service.authenticate(request)
        raise RouteError(500, message)

    return endpoint
