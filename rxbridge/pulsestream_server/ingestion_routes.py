"""POST one event, POST a batch."""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import uuid4

from pydantic import ValidationError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse

from rxbridge.pulsestream_server.answers import RouteError
from rxbridge.pulsestream_server.ingestion import FAILED, INGESTED, Outcome, Transaction
from rxbridge.pulsestream_server.service import Service
from rxbridge.pulsestream_server.stored_event import DatabaseRefused
from rxbridge.pulsestream_server.validation import IncomingEvent, checked, json_body


class BatchBroken(Exception):
    """Something in a batch that the route does not handle event by event: all of it fails."""


class IngestionRoutes:
    """The two ways in. Both answer first and commit then, as the real server does."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def post_event(self, request: Request) -> JSONResponse:
        """One event. The body is decoded before the key is looked at, and validated after."""
        posted = await json_body(request)
        tenant = self._service.authenticate(request)
        event = checked(IncomingEvent, posted, where="body")
        body = await request.body()
        transaction = self._service.transaction(request, tenant, body_bytes=len(body))
        try:
            outcome = transaction.ingest(event)
        except DatabaseRefused as error:
            raise RouteError(400, {"message": FAILED, "errors": [str(error)]}) from None
        if outcome.errors:
            raise RouteError(400, {"message": outcome.message, "errors": outcome.errors})
        # A duplicate is told the same as a new event.
        answer = _result(Outcome(outcome.event_id, INGESTED), transaction.begun_at)
        return JSONResponse(answer, background=BackgroundTask(transaction.commit))

    async def post_batch(self, request: Request) -> JSONResponse:
        """A batch: 200 whatever became of each event, unless something breaks the whole of it."""
        tenant = self._service.authenticate(request)
        body = await request.body()
        transaction = self._service.transaction(request, tenant, body_bytes=len(body))
        try:
            answer = _ingest_batch(transaction, body)
        except (BatchBroken, DatabaseRefused):
            raise RouteError(500, "Batch event ingestion failed") from None
        return JSONResponse(answer, background=BackgroundTask(transaction.commit))


def _ingest_batch(transaction: Transaction, body: bytes) -> dict[str, Any]:
    batch = _decoded(body)
    events = batch.get("events")
    if not events:
        raise RouteError(400, "Batch must contain at least one event")
    if not isinstance(events, list):
        raise BatchBroken("events that are no list")
    ingested_at = transaction.begun_at
    results = [_result(_ingest(transaction, event), ingested_at) for event in cast("list[object]", events)]
    batch_id = batch.get("batch_id", str(uuid4()))
    if not isinstance(batch_id, str):
        raise BatchBroken("a batch_id that is no string")
    successful = sum(result["success"] for result in results)
    failed = len(results) - successful
    mixed = "partial" if successful else "failed"
    return {
        "batch_id": batch_id,
        "total_events": len(results),
        "successful_events": successful,
        "failed_events": failed,
        "ingested_at": ingested_at,
        "results": results,
        "processing_status": mixed if failed else "completed",
    }


def _ingest(transaction: Transaction, posted: object) -> Outcome:
    if not isinstance(posted, dict):
        raise BatchBroken("an event that is no object")
    fields = cast("dict[str, Any]", posted)
    try:
        event = IncomingEvent.model_validate(fields)
    except ValidationError as error:
        event_id = fields.get("event_id", "unknown")
        if not isinstance(event_id, str):
            raise BatchBroken("an event_id that is no string") from None
        return Outcome(event_id, f"Validation error: {error}", [str(error)])
    return transaction.ingest(event)


def _result(outcome: Outcome, ingested_at: str) -> dict[str, Any]:
    success = outcome.errors is None
    return {
        "success": success,
        "event_id": outcome.event_id,
        "ingested_at": ingested_at,
        "processing_status": "queued" if success else "failed",
        "message": outcome.message,
        "errors": outcome.errors,
    }


def _decoded(body: bytes) -> dict[str, Any]:
    """The batch, whatever its content type says."""
    try:
        batch: object = json.loads(body)
    except (ValueError, RecursionError):
        raise BatchBroken("a body that is no JSON") from None
    if not isinstance(batch, dict):
        raise BatchBroken("a body that is no object")
    return cast("dict[str, Any]", batch)
