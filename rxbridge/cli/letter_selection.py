"""Which dead letters a command is about."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import msgspec
import typer

from rxbridge.cli.letter_forms import key_of
from rxbridge.journal import DeadLetter, Journal

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_age = re.compile(r"(\d{1,9})([smhd])").fullmatch


class Selection(msgspec.Struct, frozen=True):
    """What all of its conditions fit; no condition fits all.

    Attributes:
        keys: An offset, or an offset and an event id with a colon between; any of them.
        stage: Where it failed.
        reason: A part of the reason, in any case.
        since: When it was last tried at the earliest: nanoseconds since the Unix epoch.
        limit: At most so many.
    """

    keys: tuple[str, ...] = ()
    stage: str | None = None
    reason: str | None = None
    since: int | None = None
    limit: int | None = None

    @property
    def narrows(self) -> bool:
        """Whether there may be letters that do not fit."""
        return bool(self.keys or self.stage or self.reason or self.since is not None)

    def of(self, journal: Journal) -> Iterator[DeadLetter]:
        """The letters that fit, by offset."""
        return islice(self._fitting(journal), self.limit)

    def count_all(self, journal: Journal) -> int:
        """How many fit, whatever the limit."""
        return sum(1 for _ in self._fitting(journal))

    def _fitting(self, journal: Journal) -> Iterator[DeadLetter]:
        return (letter for letter in journal.dead_letters() if self._fits(letter))

    def _fits(self, letter: DeadLetter) -> bool:
        return (
            (not self.keys or key_of(letter) in self.keys or str(letter.offset) in self.keys)
            and (self.stage is None or letter.stage == self.stage)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.since is None or letter.last_attempt >= self.since)
        )


def selection(
    *,
    keys: Sequence[str] = (),
    stage: str | None = None,
    reason: str | None = None,
    since: str | None = None,
    limit: int | None = None,
) -> Selection:
    """What the options of a command say.

    Raises:
        BadParameter: One of them cannot be.
    """
    for key in keys:
        if not key.partition(":")[0].isdecimal():
            raise typer.BadParameter(f"{key!r} does not begin with an offset", param_hint="KEY")
    return Selection(tuple(keys), stage, reason, None if since is None else _since(since), limit)


def _since(text: str) -> int:
    """An age, or a time in ISO 8601, in UTC if it names no zone, in nanoseconds since the Unix epoch."""
    age = _age(text)
    if age is not None:
        return time.time_ns() - int(age[1]) * _SECONDS[age[2]] * 10**9
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        problem = f"{text!r} is neither an age, such as 2h, nor a time, such as 2026-01-31T08:00:00Z"
        raise typer.BadParameter(problem, param_hint="--since") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9
