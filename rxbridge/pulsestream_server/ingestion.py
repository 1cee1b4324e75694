"""What the server does with the events of one request, up to and including the commit."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from rxbridge.pulsestream_server.rate_limit import RateLimiter
from rxbridge.pulsestream_server.store import EventRow, Store, Tenant
from rxbridge.pulsestream_server.stored_event import DatabaseRefused, database_time, stored
from rxbridge.pulsestream_server.validation import IncomingEvent

LARGEST_PAYLOAD = 10 * 1024 * 1024
"""In characters of the payload written as ASCII JSON, with a space after each comma and colon."""

LARGEST_GROWTH = 6
"""How many times longer than the body it came in such a payload can be: a DEL becomes `\\u007f`."""

FURTHEST_FUTURE = timedelta(minutes=5)

INGESTED = "Event ingested successfully"
DUPLICATE = "Event already exists (idempotent)"
INVALID = "Event validation failed"
FAILED = "Event ingestion failed"


class Outcome(NamedTuple):
    """What became of one event; `errors` is None if it is stored, or was before."""

    event_id: str
    message: str
    errors: list[str] | None = None


class _Refused(Exception):
    def __init__(self, message: str, *errors: str) -> None:
        self.message = message
        self.errors = list(errors)


class Transaction:
    """The events of one request.

    It sees what was committed before, and what it took itself; never what another request has taken and not yet
    committed. Nothing is written before `commit`, which the server calls after it has answered: two requests with the
    same event, at the same time, both store it, and a server that dies in between has promised what it does not have.

    Args:
        store: The database.
        limiter: Charged at once, and for good, whether or not the transaction is committed.
        tenant: Whose events they are.
        now: The time; UTC, naive.
        body_bytes: The length of the request's body.
        budget: After so many new events the rate limit counts as reached, whatever the limiter says; None for no such
            end.
    """

    def __init__(
        self,
        store: Store,
        limiter: RateLimiter,
        tenant: Tenant,
        *,
        now: datetime,
        body_bytes: int,
        budget: int | None = None,
    ) -> None:
        self._store = store
        self._limiter = limiter
        self._tenant = tenant
        self.begun_at: str = now.isoformat()
        self._now = now
        self._budget = budget
        self._ingested_at = database_time(now)
        self._may_be_too_large = body_bytes * LARGEST_GROWTH > LARGEST_PAYLOAD
        self._rows: list[EventRow] = []
        self._taken: Counter[str] = Counter()
        self._aborted = False

    def ingest(self, event: IncomingEvent) -> Outcome:
        """Take an event, or say why not.

        Raises:
            DatabaseRefused: An INSERT that PostgreSQL refuses. The transaction cannot go on.
        """
        event_id = str(uuid4()) if event.event_id is None else event.event_id
        timestamp = event.timestamp or self._now
        try:
            self._validate(event, timestamp)
            if self._is_known(event_id):
                return Outcome(event_id, DUPLICATE)
            self._require_budget()
        except _Refused as refusal:
            return Outcome(event_id, refusal.message, refusal.errors)
        self._insert(event, event_id, timestamp)
        return Outcome(event_id, INGESTED)

    async def commit(self) -> None:
        """Write what was taken, unless the transaction was aborted: then nothing of it, whatever was answered.

        A coroutine that never waits: Starlette would run a plain function in another thread.
        """
        if self._rows and not self._aborted:
            self._store.add_events(self._rows)

    def _validate(self, event: IncomingEvent, timestamp: datetime) -> None:
        if timestamp.tzinfo is not None:
            raise _Refused(FAILED, "can't compare offset-naive and offset-aware datetimes")
        errors: list[str] = []
        size = len(json.dumps(event.payload)) if self._may_be_too_large and event.payload else 0
        if size > LARGEST_PAYLOAD:
            errors.append(f"payload: Payload size ({size} bytes) exceeds maximum of {LARGEST_PAYLOAD} bytes")
        if timestamp > self._now + FURTHEST_FUTURE:
            errors.append("timestamp: Event timestamp cannot be more than 5 minutes in the future")
        if errors:
            raise _Refused(INVALID, *errors)

    def _is_known(self, event_id: str) -> bool:
        """Whether the event is there already; an empty id is not looked up."""
        if not event_id:
            return False
        if self._aborted:
            raise _Refused(FAILED, str(_transaction_aborted("SELECT events.external_id")))
        if "\0" in event_id:
            self._aborted = True
            problem = 'invalid byte sequence for encoding "UTF8": 0x00'
            error = DatabaseRefused("CharacterNotInRepertoireError", problem, "SELECT events.external_id")
            raise _Refused(FAILED, str(error))
        occurrences = self._taken[event_id] + self._store.occurrences(self._tenant.id, event_id)
        if occurrences > 1:
            raise _Refused(FAILED, "Multiple rows were found when one or none was required")
        return occurrences == 1

    def _require_budget(self) -> None:
        if refusal := self._limiter.refusal(self._tenant.id):
            raise _Refused(FAILED, refusal)
        if self._budget is not None and len(self._rows) >= self._budget:
            raise _Refused(FAILED, self._limiter.words())

    def _insert(self, event: IncomingEvent, event_id: str, timestamp: datetime) -> None:
        if self._aborted:
            raise _transaction_aborted("INSERT INTO events")
        row = stored(
            event,
            tenant_id=self._tenant.id,
            event_id=event_id,
            timestamp=timestamp,
            ingested_at=self._ingested_at,
        )
        self._rows.append(row)
        self._taken[event_id] += 1
        self._limiter.charge(self._tenant.id)


def _transaction_aborted(statement: str) -> DatabaseRefused:
    problem = "current transaction is aborted, commands ignored until end of transaction block"
    return DatabaseRefused("InFailedSQLTransactionError", problem, statement)
