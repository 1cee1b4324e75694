"""What the subscription's state machine decides: messages to send, and verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from rxbridge.coinbase.answers import Refused
from rxbridge.coinbase.protocol import Verb
from rxbridge.coinbase.rejections import Rejection
from rxbridge.coinbase.wanted import Wanted


@dataclass(frozen=True, slots=True)
class Send:
    """To do: ask for this, or ask for it no more, in one message."""

    wanted: Wanted
    repeated: bool
    verb: Verb = "subscribe"


@dataclass(frozen=True, slots=True)
class Settled:
    """Every message was answered or given up.

    Attributes:
        confirmed: What is wanted and acknowledged.
        missing: What was asked for twice and is not acknowledged.
        lingering: What is wanted no longer, and did not end when that was said twice, or refused.
    """

    confirmed: Wanted
    missing: Wanted
    lingering: Wanted = field(default_factory=dict[str, tuple[str, ...]])


@dataclass(frozen=True, slots=True)
class Unexplained:
    """An error came that answers nothing we asked."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """Every product was refused; `reasons` says why, by product, or once of everything."""

    reasons: dict[str, str]


Action: TypeAlias = Send | Rejection | Settled | Unexplained | NothingLeft
