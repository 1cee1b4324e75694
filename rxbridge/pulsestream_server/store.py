"""Tenants, events and alert rules in a SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

SCHEMA = """
CREATE TABLE IF NOT EXISTS tenants (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    contact_email TEXT UNIQUE,
    api_key_sha256 TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    event_type TEXT NOT NULL,
    source TEXT NOT NULL,
    source_version TEXT,
    event_timestamp TEXT NOT NULL,
    ingested_at TEXT NOT NULL,
    payload TEXT NOT NULL,
    event_metadata TEXT NOT NULL,
    external_id TEXT NOT NULL,
    correlation_id TEXT,
    duration_ms INTEGER,
    status_code INTEGER,
    error_message TEXT,
    user_agent TEXT
);
-- Not unique: the real server's schema has no such constraint either, and shows it.
CREATE INDEX IF NOT EXISTS events_by_external_id ON events (tenant_id, external_id);
CREATE INDEX IF NOT EXISTS events_by_timestamp ON events (tenant_id, event_timestamp);
CREATE TABLE IF NOT EXISTS alert_rules (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    rule TEXT NOT NULL
);
"""


class Tenant(NamedTuple):
    """Whoever an API key belongs to. `id` is the database's own, `uuid` the one that the API shows."""

    id: int
    uuid: str
    name: str
    slug: str


class EventRow(NamedTuple):
    """An event as it is stored. Times are UTC, `YYYY-MM-DD HH:MM:SS.ffffff`, so that text order is time order."""

    tenant_id: int
    event_type: str
    source: str
    source_version: str | None
    event_timestamp: str
    ingested_at: str
    payload: str
    event_metadata: str
    external_id: str
    correlation_id: str | None
    duration_ms: int | None
    status_code: int | None
    error_message: str | None
    user_agent: str | None


class Filter(NamedTuple):
    """What a search asks for; None asks for nothing. Times as in `EventRow`, both ends included."""

    event_type: str | None = None
    source_contains: str | None = None
    status_code: int | None = None
    start: str | None = None
    end: str | None = None


_COLUMNS = ", ".join(EventRow._fields)
_INSERT = f"INSERT INTO events ({_COLUMNS}) VALUES ({', '.join('?' * len(EventRow._fields))})"  # noqa: S608 - constants
_WHERE = """
    tenant_id = :tenant_id
    AND (:event_type IS NULL OR event_type = :event_type)
    AND (:source_contains IS NULL OR source LIKE '%' || :source_contains || '%' ESCAPE '\\')
    AND (:status_code IS NULL OR status_code = :status_code)
    AND event_timestamp BETWEEN coalesce(:start, '') AND coalesce(:end, '~')
"""
_COUNT = f"SELECT count(*) FROM events WHERE {_WHERE}"  # noqa: S608 - constants
_SELECT = (
    f"SELECT id, {_COLUMNS} FROM events WHERE {_WHERE}"  # noqa: S608 - constants
    " ORDER BY event_timestamp DESC, id DESC LIMIT :limit OFFSET :offset"
)


class Store:
    """The database, used by one thread at a time. Another process may read its file meanwhile.

    Args:
        database: Path of the file, created if absent; `:memory:` for none.

    Raises:
        sqlite3.Error: The file cannot be opened, or is no database.
    """

    def __init__(self, database: str | Path = ":memory:") -> None:
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(SCHEMA)
        except sqlite3.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file. Twice is as good as once."""
        self._connection.close()

    def tenant_by_key(self, api_key: str) -> Tenant | None:
        """Whose key it is. Only its digest is stored."""
        row = self._connection.execute(
            "SELECT id, uuid, name, slug FROM tenants WHERE api_key_sha256 = ?", (_digest(api_key),)
        ).fetchone()
        return None if row is None else Tenant(*row)

    def slug_is_taken(self, slug: str) -> bool:
        """Whether a tenant has it."""
        return self._exists("SELECT 1 FROM tenants WHERE slug = ?", slug)

    def contact_email_is_taken(self, contact_email: str) -> bool:
        """Whether a tenant has it."""
        return self._exists("SELECT 1 FROM tenants WHERE contact_email = ?", contact_email)

    def add_tenant(self, *, name: str, slug: str, contact_email: str | None, api_key: str) -> Tenant:
        """A new tenant.

        Raises:
            sqlite3.IntegrityError: Another tenant has the slug, the contact email or the key.
        """
        uuid = str(uuid4())
        (number,) = self._connection.execute(
            "INSERT INTO tenants (uuid, name, slug, contact_email, api_key_sha256) VALUES (?, ?, ?, ?, ?) RETURNING id",
            (uuid, name, slug, contact_email, _digest(api_key)),
        ).fetchone()
        return Tenant(number, uuid, name, slug)

    def occurrences(self, tenant_id: int, external_id: str) -> int:
        """How many events have this id: 0, 1, or 2 for more than one."""
        rows = self._connection.execute(
            "SELECT 1 FROM events WHERE tenant_id = ? AND external_id = ? LIMIT 2", (tenant_id, external_id)
        ).fetchall()
        return len(rows)

    def add_events(self, rows: Sequence[EventRow]) -> None:
        """Store them all, in one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_INSERT, rows)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def count(self, tenant_id: int, matching: Filter) -> int:
        """How many events match."""
        parameters = {"tenant_id": tenant_id, **matching._asdict()}
        (count,) = self._connection.execute(_COUNT, parameters).fetchone()
        return count

    def select(self, tenant_id: int, matching: Filter, *, limit: int, offset: int) -> list[tuple[int, EventRow]]:
        """The events that match, each with its number in the database, newest event timestamp first."""
        parameters = {"tenant_id": tenant_id, **matching._asdict(), "limit": limit, "offset": offset}
        return [(row[0], EventRow._make(row[1:])) for row in self._connection.execute(_SELECT, parameters)]

    def add_alert_rule(self, tenant_id: int, rule: str) -> str:
        """Keep a rule, JSON text, and give it an id."""
        uuid = str(uuid4())
        self._connection.execute(
            "INSERT INTO alert_rules (uuid, tenant_id, rule) VALUES (?, ?, ?)", (uuid, tenant_id, rule)
        )
        return uuid

    def _exists(self, query: str, value: str) -> bool:
        return self._connection.execute(query, (value,)).fetchone() is not None


def _digest(api_key: str) -> str:
    return sha256(api_key.encode()).hexdigest()
