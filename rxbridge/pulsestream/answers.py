"""Reading PulseStream's answers: what became of each event of a batch, or what went wrong with the request. Pure.

The texts are those of PulseStream's ingestion service. It answers a batch with 200 whatever became of its events, so
every result is read, and an answer is believed as a whole or not at all: after an error that is not one of the known
ones its transaction may have been rolled back, together with the events that it calls successes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from rxbridge.errors import DeliveryError, ReadTimedOut, ServerFailed, Throttled, Unauthorized, quoted
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.limits import (
    RATE_LIMIT,
    WINDOW_SECONDS,
    Limit,
    names_a_time,
    resume_at,
    server_time,
    told_limit,
)

Decoded = TypeVar("Decoded")

Hide: TypeAlias = Callable[[str], str]
"""Takes the API key out of a text: a server may echo it."""

Fate: TypeAlias = Literal["stored", "already_stored", "throttled", "early", "refused"]
"""`early` is an event whose timestamp lies more than 5 minutes ahead of the server's clock: valid, only not yet."""

FUTURE_SECONDS = 300
"""How far ahead of PulseStream's clock a timestamp may lie."""

_REFUSED_BY_SCHEMA = "Validation error: "
_REFUSED_BY_SERVICE = "Event validation failed"
_FAILED = "Event ingestion failed"
_ALREADY_STORED = "Event already exists (idempotent)"

_FUTURE = "timestamp: Event timestamp cannot be more than 5 minutes in the future"
_AWARE = "can't compare offset-naive and offset-aware datetimes"
_SEVERAL_ROWS = "Multiple rows were found"

_LONGEST_ERROR_BYTES = 65_536
"""An error of the framework repeats what it refuses, but no body that is larger than this is taken apart."""

_BEGINNING_BYTES = 8_192
_MOST_REASONS = 10
_LONGEST_REASON = 500
"""Characters. A database error quotes its statement, and the part that tells stands at its beginning."""

_GATEWAY_TIMED_OUT = frozenset({504, 524})
"""524 is what Cloudflare says for 504."""
_REDIRECTS = range(300, 400)


class HttpAnswer(msgspec.Struct, frozen=True):
    """An answer, read to its end.

    Attributes:
        url: What was asked.
        status: The HTTP status.
        headers: By name, in any case.
        body: As it came.
        received_at: When, in Unix seconds of our clock.
        seconds: How long it took.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: float
    seconds: float


class EventOutcome(msgspec.Struct, frozen=True):
    """What became of one event, and why if it is not stored."""

    fate: Fate
    reasons: tuple[str, ...] = ()


class BatchAnswer(msgspec.Struct, frozen=True):
    """What became of a batch, by an answer that can be believed.

    Attributes:
        outcomes: One for each event that was sent, in the same order.
        server_time: The server's clock when it answered, in Unix seconds.
        resume_at: When throttled events may be sent again, in Unix seconds of our clock.
        limit: The rate limit, where the answer tells it.
    """

    outcomes: tuple[EventOutcome, ...]
    server_time: float
    resume_at: float
    limit: Limit | None = None


class _Result(msgspec.Struct):
    success: bool
    event_id: str
    message: str | None = None
    errors: list[str] | None = None


class _BatchBody(msgspec.Struct):
    total_events: int
    successful_events: int
    failed_events: int
    results: list[_Result]


_STORED_OUTCOME = EventOutcome("stored")
_ALREADY_STORED_OUTCOME = EventOutcome("already_stored")
_batch_body = msgspec.json.Decoder(_BatchBody)


def read_batch(answer: HttpAnswer, events: Sequence[EncodedEvent], hide: Hide = str) -> BatchAnswer:
    """What became of each event.

    Raises:
        Throttled, Unauthorized, ReadTimedOut: As `failure` says.
        ServerFailed: The batch counts as not stored: another status than 200, an answer out of shape, or one with an
            error that is not known.
    """
    if answer.status != HTTPStatus.OK:
        raise failure(answer, hide)
    body = decode(_batch_body, answer, hide)
    successes = sum(result.success for result in body.results)
    counts = (body.total_events, body.successful_events, body.failed_events, len(body.results))
    if counts != (len(events), successes, len(events) - successes, len(events)):
        raise ServerFailed(200, f"the counts of its answer do not fit a batch of {len(events)}")
    outcomes: list[EventOutcome] = []
    for event, result in zip(events, body.results, strict=True):
        if result.event_id != event.event_id:
            other = _shortened(result.event_id, hide)
            raise ServerFailed(200, f"it answered for event {other}, asked was {event.event_id}")
        outcomes.append(_outcome(result, hide))
    date = answer.headers.get("Date")
    limit = told_limit(outcome.reasons[0] for outcome in outcomes if outcome.fate == "throttled")
    return BatchAnswer(
        outcomes=tuple(outcomes),
        server_time=server_time(date, answer.received_at),
        resume_at=resume_at(None, date, answer.received_at, limit.seconds if limit else WINDOW_SECONDS),
        limit=limit,
    )


def _outcome(result: _Result, hide: Hide) -> EventOutcome:
    errors = result.errors or []
    if result.success:
        # The flag decides, not the message, which another version may word differently.
        if errors:
            raise ServerFailed(200, f"a success with errors: {_shortened(errors[0], hide)}")
        return _ALREADY_STORED_OUTCOME if result.message == _ALREADY_STORED else _STORED_OUTCOME
    message = result.message or ""
    reasons = _reasons(errors or [message], hide)
    if message.startswith(_REFUSED_BY_SCHEMA):
        return EventOutcome("refused", reasons)
    if message == _REFUSED_BY_SERVICE and errors:
        return EventOutcome("early" if errors == [_FUTURE] else "refused", reasons)
    if message == _FAILED and len(errors) == 1:
        # The start of the text decides: a database error further on quotes the event, which may hold any words.
        if errors[0].startswith(RATE_LIMIT):
            return EventOutcome("throttled", reasons)
        if errors[0].startswith(_SEVERAL_ROWS):
            return _ALREADY_STORED_OUTCOME
        if errors[0].startswith(_AWARE):
            return EventOutcome("refused", reasons)
    raise ServerFailed(200, "; ".join(reasons))


def failure(answer: HttpAnswer, hide: Hide = str) -> DeliveryError:
    """The error that an answer other than 200 stands for.

    A gateway's time-out is one of ours: the request may still be running behind it.
    """
    date, now = answer.headers.get("Date"), answer.received_at
    if answer.status in _REDIRECTS:
        return ServerFailed(answer.status, _redirected(hide(answer.headers.get("Location", ""))))
    if answer.status in _GATEWAY_TIMED_OUT:
        return ReadTimedOut(answer.url, answer.seconds)
    texts = _texts(answer.body)
    detail = hide("; ".join(texts))
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return Unauthorized(detail)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after = answer.headers.get("Retry-After")
        return Throttled(resume_at(retry_after, date, now), detail, named=names_a_time(retry_after))
    if answer.status == HTTPStatus.BAD_REQUEST and any(text.startswith(RATE_LIMIT) for text in texts):
        limit = told_limit(texts)
        return Throttled(resume_at(None, date, now, limit.seconds if limit else WINDOW_SECONDS), detail)
    return ServerFailed(answer.status, detail)


def decode(decoder: msgspec.json.Decoder[Decoded], answer: HttpAnswer, hide: Hide) -> Decoded:
    """The body of a 200.

    Raises:
        ServerFailed: It is no JSON, such as a proxy's HTML page, or not of the expected shape.
    """
    try:
        return decoder.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        beginning = hide(_beginning(answer.body))
        problem = hide(str(error))
    raise ServerFailed(answer.status, f"an answer out of shape ({problem}): {beginning}")


def _texts(body: bytes) -> list[str]:
    """The error texts of a body, in whichever of PulseStream's three shapes; else its beginning."""
    if len(body) > _LONGEST_ERROR_BYTES:
        return [_beginning(body)]
    try:
        content: Any = msgspec.json.decode(body)
        for names in (("message", "detail", "error"), ("errors",)):
            if isinstance(content, dict):
                fields = cast("dict[str, Any]", content)
                content = next((fields[name] for name in names if fields.get(name)), fields)
        parts = cast("list[Any]", content) if isinstance(content, list) else [content]
        return [_text(part) for part in parts] or ["no reason given"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [_beginning(body) or "no reason given"]


def _beginning(body: bytes) -> str:
    """More than is shown in the end: the key is taken out of it first, and would not be known if it were cut."""
    return body[:_BEGINNING_BYTES].decode("utf-8", "backslashreplace")


def _reasons(errors: Sequence[str], hide: Hide) -> tuple[str, ...]:
    """Why an event is not stored, as it is kept with it; a server that says very much is cut short."""
    told = [_shortened(error, hide) for error in errors[:_MOST_REASONS]]
    if len(errors) > _MOST_REASONS:
        told.append(f"and {len(errors) - _MOST_REASONS:,} more reasons")
    return tuple(told)


def _shortened(text: str, hide: Hide) -> str:
    """A text without the key, cut after it was taken out: of one that lies across the cut, a part would be left."""
    text = hide(text[:_LONGEST_ERROR_BYTES])
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


def _text(part: Any) -> str:
    """One error: a text, or what the framework says of one field: `{"loc": ["body", "title"], "msg": "..."}`."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        fields = cast("dict[str, Any]", part)
        place, problem = fields.get("loc"), fields.get("msg")
        if isinstance(place, list) and isinstance(problem, str):
            return f"{'.'.join(map(str, cast('list[Any]', place)))}: {problem}"
    return msgspec.json.encode(part).decode()


def _redirected(location: str) -> str:
    try:
        parts = urlsplit(location)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "a redirect to nowhere that can be read; redirects are not followed"
    target = f"{host}{parts.path}" if host else parts.path
    return f"a redirect to {quoted(target)}; redirects are not followed, the key goes to one host only"
