"""What can go wrong, on which side, and what can be said about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Side: TypeAlias = Literal["feed", "sink"]
Value: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a fault can be told beyond when it happens.

    Attributes:
        takes: What it takes, in words that follow "takes".
        accepts: Whether a value is of that sort.
        default: What it is when nothing is said.
        required: Whether something must be said.
    """

    takes: str
    accepts: Callable[[object], bool]
    default: Value = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        parameters: What it can be told, by name.
        momentary: Without a duration it happens once, at the moment at which it begins, to the connections that are
            open then. The others, without a duration, last to the end.
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])
    momentary: bool = False


def is_number(value: object) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object, least: int = 0, most: float = math.inf) -> bool:
    """Whether it is a whole number from `least` to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _not_negative(value: object) -> bool:
    return isinstance(value, int | float) and is_number(value) and value >= 0


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and is_number(value) and value > 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _one_of(*words: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


_CLIENTS: Mapping[str, Parameter] = {
    "clients": Parameter('"all", or "oldest": who has been connected longest', _one_of("all", "oldest"), "all")
}
"""Which connections a fault of connections hits."""

LONGEST_CLOSE_REASON_BYTES = 123
"""RFC 6455, section 5.5: a control frame carries 125 bytes at most, of which the code takes two."""

_RETRY_AFTER = Parameter(
    'whole seconds, or "date" for the other form of the header', lambda value: value == "date" or is_whole(value)
)
_DELAY = Parameter("seconds, 0 or more", _not_negative, required=True)
_FIELD = Parameter("the name of a field; without one, any field", _is_text)
_CHOICE: Mapping[str, Parameter] = {
    "type": Parameter("a frame's type, such as match; without one, all that carry data", _is_text),
    "product": Parameter("a product; without one, all", _is_text),
}
"""Which frames a fault is about."""

_FEED: dict[str, Kind] = {
    "drop": Kind(_CHOICE),
    "duplicate": Kind(_CHOICE),
    "reorder": Kind(
        {
            **_CHOICE,
            "places": Parameter("how many frames overtake it, 1 or more", lambda value: is_whole(value, 1), 1),
        }
    ),
    "truncate": Kind(_CHOICE),
    "missing_field": Kind({**_CHOICE, "field": _FIELD}),
    "null_field": Kind({**_CHOICE, "field": _FIELD}),
    "clock": Kind({**_CHOICE, "offset_seconds": Parameter("seconds", is_number, 3600.0)}),
    "last_trade_id_zero": Kind({"product": _CHOICE["product"]}),
    "garbage": Kind({**_CHOICE, "text": Parameter("what is sent; without it, any garbage", _is_text)}),
    "binary": Kind(_CHOICE),
    "huge": Kind(
        {**_CHOICE, "bytes": Parameter("bytes, 1 to 100,000,000", lambda v: is_whole(v, 1, 100_000_000), 10_000_000)}
    ),
    "unknown": Kind(_CHOICE),
    "level3": Kind(_CHOICE),
    "close": Kind(
        {
            **_CLIENTS,
            "code": Parameter("a close code, 0 to 65535", lambda value: is_whole(value, 0, 65_535), 1006),
            "reason": Parameter(
                f"text of {LONGEST_CLOSE_REASON_BYTES} bytes at most",
                lambda value: isinstance(value, str) and len(value.encode()) <= LONGEST_CLOSE_REASON_BYTES,
                "",
            ),
        },
        momentary=True,
    ),
    "reset": Kind(_CLIENTS, momentary=True),
    "silence": Kind(_CLIENTS, momentary=True),
    "trickle": Kind({**_CLIENTS, "bytes_per_second": Parameter("bytes a second, above 0", _positive, 100.0)}),
    "subscription_error": Kind({"product": Parameter("a product", _is_text, required=True)}),
    "partial_ack": Kind({"channel": Parameter("a channel", _is_text, required=True)}),
    "rest_429": Kind({"retry_after": _RETRY_AFTER}),
    "rest_500": Kind(),
    "rest_slow": Kind({"delay_seconds": _DELAY}),
    "rest_empty": Kind({"product": _CHOICE["product"]}),
}

_ROUTES: Mapping[str, Parameter] = {
    "routes": Parameter('"ingestion" or "all"', _one_of("ingestion", "all"), "ingestion")
}
"""Which requests a fault of the sink is about. Those without it are about connections, or about events."""

_STORES = Parameter("true or false", lambda value: isinstance(value, bool), default=False)

_SINK: dict[str, Kind] = {
    "refuse": Kind(),
    "reset": Kind({"after": Parameter('"request" or "response"', _one_of("request", "response"), "request")}),
    "fail": Kind(_ROUTES),
    "unauthorized": Kind(_ROUTES),
    "too_many": Kind({**_ROUTES, "retry_after": _RETRY_AFTER}),
    "lose": Kind({"commit_after_seconds": Parameter("seconds, above 0; without it, never", _positive)}),
    "partial": Kind({"cause": Parameter('"database" or "rate_limit"', _one_of("database", "rate_limit"), "database")}),
    "out_of_shape": Kind({**_ROUTES, "stores": _STORES}),
    "html": Kind(
        {
            **_ROUTES,
            "status": Parameter(
                "200, or 400 to 599; without it, 200 and 502 by turns",
                lambda value: is_whole(value, 200, 200) or is_whole(value, 400, 599),
            ),
        }
    ),
    "hang": Kind({**_ROUTES, "delay_seconds": _DELAY, "stores": _STORES}),
    "slow": Kind({"seconds_per_event": Parameter("seconds, 0 or more", _not_negative, 1.0)}),
    "redirect": Kind({**_ROUTES, "location": Parameter("an address", _is_text)}),
    "wrong_certificate": Kind(
        {
            "certificate": Parameter("a PEM file", _is_text, required=True),
            "key": Parameter("a PEM file", _is_text, required=True),
        }
    ),
}

KINDS: Final[Mapping[Side, Mapping[str, Kind]]] = MappingProxyType({"feed": _FEED, "sink": _SINK})
"""Every kind of fault, by the side that commits it. `reset` is known on both."""
