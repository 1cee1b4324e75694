"""What the API's schemas accept, and how it words what they refuse."""

from __future__ import annotations

import json
from datetime import datetime
from email.message import Message
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, HttpUrl, ValidationError
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from rxbridge.pulsestream_server.answers import FrameworkError

Model = TypeVar("Model", bound=BaseModel)


class EventType(StrEnum):
    """The kinds of event."""

    API_CALL = "api_call"
    USER_ACTION = "user_action"
    SYSTEM_EVENT = "system_event"
    ERROR_EVENT = "error_event"
    CUSTOM_EVENT = "custom_event"


class EventSeverity(StrEnum):
    """The levels of severity."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class EventSource(BaseModel):
    """Where an event comes from."""

    service: Annotated[str, Field(min_length=1, max_length=100)]
    endpoint: Annotated[str, Field(min_length=1, max_length=500)]
    method: Annotated[str, Field(min_length=1, max_length=10)]
    version: Annotated[str, Field(max_length=20)] | None = None
    environment: Annotated[str, Field(max_length=50)] | None = None


class EventContext(BaseModel):
    """What surrounded it."""

    user_id: str | None = None
    session_id: str | None = None
    request_id: str | None = None
    ip_address: str | None = None
    user_agent: Annotated[str, Field(max_length=500)] | None = None
    referrer: HttpUrl | None = None
    tags: dict[str, str] | None = None


class EventMetrics(BaseModel):
    """What was measured. Every other key, a price among them, is dropped."""

    response_time_ms: Annotated[float, Field(ge=0)]
    status_code: Annotated[int, Field(ge=100, le=599)]
    request_size_bytes: Annotated[int, Field(ge=0)] | None = None
    response_size_bytes: Annotated[int, Field(ge=0)] | None = None
    cache_hit: bool | None = None


class EventError(BaseModel):
    """What went wrong."""

    error_code: Annotated[str, Field(max_length=100)] | None = None
    error_message: Annotated[str, Field(max_length=1000)] | None = None
    stack_trace: str | None = None
    error_type: Annotated[str, Field(max_length=100)] | None = None


# The title is what a batch's validation messages call an event.
class IncomingEvent(BaseModel, title="EventIngestionRequest"):
    """One event as it is posted."""

    event_type: EventType
    event_id: Annotated[str, Field(max_length=100)] | None = None
    title: Annotated[str, Field(min_length=1, max_length=200)]
    message: Annotated[str, Field(max_length=2000)] | None = None
    severity: EventSeverity = EventSeverity.INFO
    source: EventSource
    context: EventContext | None = None
    metrics: EventMetrics | None = None
    error_details: EventError | None = None
    payload: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    timestamp: datetime | None = None
    received_at: datetime | None = None


class SearchQuery(BaseModel):
    """What the search takes from the address; the rest of a query is ignored."""

    event_type: str | None = None
    severity: str | None = None
    service: str | None = None
    status_code: int | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    offset: Annotated[int, Field(ge=0)] = 0


def _slug(value: str) -> str:
    if not value.replace("-", "").replace("_", "").isalnum():
        message = "Value error, Slug must contain only letters, numbers, hyphens, and underscores"
        raise PydanticCustomError("value_error", message, {"error": {}})
    return value.lower()


def _email(value: str) -> str:
    """The address with its domain in lower case; a shadow of what the real server checks."""
    local, at, domain = value.rpartition("@")
    if not at or not local or "." not in domain.strip(".") or any(character.isspace() for character in value):
        reason = "An email address must have an @-sign." if not at else "The address is not valid."
        raise PydanticCustomError("value_error", "value is not a valid email address: {reason}", {"reason": reason})
    return f"{local}@{domain.lower()}"


EmailAddress = Annotated[str, AfterValidator(_email)]


class TenantRegistration(BaseModel):
    """What a new tenant says of itself."""

    name: Annotated[str, Field(min_length=2, max_length=255)]
    slug: Annotated[str, Field(min_length=2, max_length=100), AfterValidator(_slug)]
    contact_email: EmailAddress
    billing_email: EmailAddress | None = None
    subscription_tier: str = "free"
    timezone: str = "UTC"


async def json_body(request: Request) -> object:
    """The body as the framework decodes it: JSON if the content type says so or is absent, else text; None if empty.

    Raises:
        FrameworkError: 422 for what is no JSON; 400 for what cannot even be decoded, such as a compressed body.
    """
    body = await request.body()
    if not body:
        return None
    if not _says_json(request.headers.get("content-type")):
        return body.decode()
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        detail = {
            "type": "json_invalid",
            "loc": ["body", error.pos],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": error.msg},
        }
        raise FrameworkError(422, [detail]) from None
    except (ValueError, RecursionError):
        raise FrameworkError(400, "There was an error parsing the body") from None


def _says_json(content_type: str | None) -> bool:
    if not content_type:
        return True
    header = Message()
    header["content-type"] = content_type
    subtype = header.get_content_subtype()
    return header.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def checked(model: type[Model], value: object, *, where: str) -> Model:
    """`value` as a `model`; `where` is the first word of each error's location: `body` or `query`.

    Raises:
        FrameworkError: 422, with all that is wrong.
    """
    if value is None:
        raise FrameworkError(422, [{"type": "missing", "loc": [where], "msg": "Field required", "input": None}])
    try:
        # From attributes, because the framework does so and words its refusals accordingly.
        return model.model_validate(value, from_attributes=True)
    except ValidationError as error:
        detail = [{**problem, "loc": [where, *problem["loc"]]} for problem in error.errors()]
        raise FrameworkError(422, detail) from None
