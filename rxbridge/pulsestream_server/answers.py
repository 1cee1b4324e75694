"""The three shapes of an error body, and the exceptions that become them.

Which one a client sees depends on what refused it: a route, the framework below the routes, or nobody. The last kind
is any exception that reaches the server: it answers, and closes the connection without announcing it.
"""

from __future__ import annotations

from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse


class RouteError(Exception):
    """A route refuses: `{"error": "HTTP_ERROR", "message": ..., "status_code": ...}`."""

    def __init__(self, status: int, message: str | dict[str, Any]) -> None:
        self.status = status
        self.message = message
        super().__init__(f"a route refuses with {status}")


class FrameworkError(Exception):
    """The framework refuses, before or beside the route: `{"detail": ...}`."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"the framework refuses with {status}")


async def answer_route_error(_request: Request, error: Exception) -> JSONResponse:
    """Shape one."""
    refusal = cast("RouteError", error)
    return route_refusal(refusal.status, refusal.message)


async def answer_framework_error(_request: Request, error: Exception) -> JSONResponse:
    """Shape two."""
    if isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    refusal = cast("FrameworkError", error)
    return JSONResponse({"detail": refusal.detail}, refusal.status)


async def answer_unhandled(_request: Request, _error: Exception) -> JSONResponse:
    """Shape three; Starlette raises the exception again, which makes uvicorn close the connection."""
    return unhandled()


def route_refusal(status: int, message: str | dict[str, Any]) -> JSONResponse:
    """An answer of shape one."""
    return JSONResponse({"error": "HTTP_ERROR", "message": message, "status_code": status}, status)


def unhandled() -> JSONResponse:
    """An answer of shape three."""
    return JSONResponse({"error": "INTERNAL_SERVER_ERROR", "message": "An unexpected error occurred"}, 500)
