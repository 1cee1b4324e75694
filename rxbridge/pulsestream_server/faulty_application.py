"""The API, but for the requests that a schedule lets go wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from itertools import count, cycle
from typing import Any, TypeAlias, cast

from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rxbridge.faults import Fault, Faults
from rxbridge.pulsestream_server.answers import route_refusal, unhandled
from rxbridge.pulsestream_server.exchange import NEVER, Exchange
from rxbridge.pulsestream_server.service import BUDGET
from rxbridge.pulsestream_server.spoiling import failed_in_the_middle, out_of_shape, page, succeeding

INGESTION = frozenset({"/api/v1/ingestion/events", "/api/v1/ingestion/events/batch"})

RETRY_DATE_AHEAD_SECONDS = 3
"""How far ahead a Retry-After lies that is a date."""

ELSEWHERE = "http://elsewhere.invalid"
"""Where a redirect leads if nothing else is said: a name that nobody has (RFC 2606)."""

Commit: TypeAlias = Callable[[Fault, Exchange], Awaitable[None]]


class FaultyApplication:
    """Commits, at each request, the first fault of the schedule that lasts, is about such a request, and rolls it.

    Args:
        app: Whoever answers otherwise.
        faults: The schedule.
        stopping: Set when the server ends: those that are kept waiting are answered then.
    """

    def __init__(self, app: ASGIApp, faults: Faults, *, stopping: asyncio.Event) -> None:
        self._app = app
        self._faults = faults
        self._stopping = stopping
        self._turns = count()
        self._statuses = cycle((HTTPStatus.OK, HTTPStatus.BAD_GATEWAY))
        self._commits: Mapping[str, Commit] = {
            "reset": _reset,
            "fail": _fail,
            "unauthorized": _refuse_the_key,
            "too_many": _refuse_for_now,
            "lose": _lose,
            "partial": _take_a_part,
            "out_of_shape": self._spoil,
            "html": self._show_a_page,
            "hang": _hang,
            "slow": _dawdle,
            "redirect": _redirect,
        }
        self._of_requests = faults.of(*self._commits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        fault = self._strike(scope) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        self._faults.fired(fault)
        exchange = Exchange(self._app, scope, receive, send, stopping=self._stopping)
        try:
            await self._commits[fault.kind](fault, exchange)
        except ClientDisconnect:
            # It went before its request was whole; there is nobody to answer.
            return

    def _strike(self, scope: Scope) -> Fault | None:
        """The fault that hits this request."""
        for fault in self._of_requests:
            everywhere = fault.kind == "reset" or fault.parameters.get("routes") == "all"
            concerned = everywhere or _brings_events(scope)
            if concerned and fault in self._faults.lasting(fault.kind) and self._faults.happens(fault):
                return fault
        return None

    async def _spoil(self, fault: Fault, exchange: Exchange) -> None:
        spoil = out_of_shape(next(self._turns))
        await exchange.pass_on(alter=spoil, commit_after_seconds=0.0 if fault.parameters["stores"] else NEVER)

    async def _show_a_page(self, fault: Fault, exchange: Exchange) -> None:
        given = fault.parameters["status"]
        status = next(self._statuses) if given is None else fault.whole("status")
        await exchange.answer(HTMLResponse(page(status), status))


async def _reset(fault: Fault, exchange: Exchange) -> None:
    if fault.parameters["after"] == "request":
        await exchange.break_off()
    else:
        await exchange.pass_on(breaks_off=True)


async def _fail(_fault: Fault, exchange: Exchange) -> None:
    await exchange.answer(unhandled())
    exchange.hang_up()


async def _refuse_the_key(_fault: Fault, exchange: Exchange) -> None:
    await exchange.answer(route_refusal(HTTPStatus.UNAUTHORIZED, "Invalid API key"))


async def _refuse_for_now(fault: Fault, exchange: Exchange) -> None:
    response = route_refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests")
    match fault.parameters["retry_after"]:
        case None:
            pass
        case "date":
            response.headers["Retry-After"] = formatdate(time.time() + RETRY_DATE_AHEAD_SECONDS, usegmt=True)
        case seconds:
            response.headers["Retry-After"] = str(seconds)
    await exchange.answer(response)


async def _lose(fault: Fault, exchange: Exchange) -> None:
    late = fault.parameters["commit_after_seconds"] is not None
    await exchange.pass_on(commit_after_seconds=fault.number("commit_after_seconds") if late else NEVER)


async def _take_a_part(fault: Fault, exchange: Exchange) -> None:
    if fault.parameters["cause"] == "database":
        await exchange.pass_on(alter=failed_in_the_middle, commit_after_seconds=NEVER)
        return
    exchange.scope[BUDGET] = succeeding(_count(await exchange.body()))
    await exchange.pass_on()


async def _hang(fault: Fault, exchange: Exchange) -> None:
    seconds = fault.number("delay_seconds")
    if fault.parameters["stores"] or not _brings_events(exchange.scope):
        await exchange.pass_on(hold_seconds=seconds)
        return
    await exchange.body()
    await exchange.wait(seconds)
    await exchange.answer(unhandled())


async def _dawdle(fault: Fault, exchange: Exchange) -> None:
    await exchange.pass_on(hold_seconds=fault.number("seconds_per_event") * _count(await exchange.body()))


async def _redirect(fault: Fault, exchange: Exchange) -> None:
    given = fault.parameters["location"]
    location = ELSEWHERE + exchange.scope["path"] if given is None else fault.text("location")
    # 307 is the one that asks for the same method and body again, and so for the key.
    await exchange.answer(Response(status_code=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": location}))


def _brings_events(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] in INGESTION


def _count(body: bytes) -> int:
    """How many events a body brings; what is no JSON brings none."""
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError):
        return 0
    if not isinstance(content, dict):
        return 0
    events: object = cast("dict[str, Any]", content).get("events", [content])
    return len(cast("list[Any]", events)) if isinstance(events, list) else 0
