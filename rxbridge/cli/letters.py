"""What `rxbridge dead-letters` does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import typer
from loguru import logger

from rxbridge.assembly import event_rules, pulsestream_client
from rxbridge.cli.journals import maintaining, reading
from rxbridge.cli.letter_forms import exported, key_of, pretty, summarized
from rxbridge.cli.letter_selection import Selection, selection
from rxbridge.cli.printing import moment, plain, print_table, progress
from rxbridge.config import Settings, load
from rxbridge.confirmation import Retry, remember_purged
from rxbridge.journal import DeadLetter, Journal
from rxbridge.progress import CONSUMER
from rxbridge.telemetry.logging import configure

__all__ = ["Selection", "export_letters", "print_letters", "print_one", "purge_letters", "retry_letters", "selection"]

_HEADERS = ("key", "stage", "last attempt", "attempts", "reason")
_PURGED_AT_ONCE = 1_000


def print_letters(config: Path | None, given: Mapping[str, Any], chosen: Selection, *, as_json: bool) -> None:
    """A table, or JSON lines; and on standard error how many there are besides."""
    with reading(_settings(config, given)) as journal:
        if as_json:
            for letter in chosen.of(journal):
                typer.echo(summarized(letter))
            return
        letters = list(chosen.of(journal))
        others = chosen.count_all(journal) - len(letters)
    if not letters:
        typer.echo("there is no dead letter" + (" that fits" if chosen.narrows else ""))
        return
    print_table(_HEADERS, map(_cells, letters))
    if others:
        typer.echo(f"and {others} more: see --limit", err=True)


def print_one(config: Path | None, given: Mapping[str, Any], chosen: Selection) -> None:
    """Everything that is known of a dead letter.

    Raises:
        BadParameter: There is none of this key.
    """
    with reading(_settings(config, given)) as journal:
        letters = list(chosen.of(journal))
    if not letters:
        raise typer.BadParameter("there is no dead letter of this key", param_hint="KEY")
    for letter in letters:
        typer.echo(
            f"key            {plain(key_of(letter))}\n"
            f"offset         {letter.offset}\n"
            f"event id       {plain(letter.event_id) or '(it never became an event)'}\n"
            f"stage          {letter.stage}\n"
            f"reason         {plain(letter.reason, 2_000)}\n"
            f"first attempt  {moment(letter.first_attempt)}\n"
            f"last attempt   {moment(letter.last_attempt)}\n"
            f"attempts       {letter.attempts}\n"
            f"content        {len(letter.content)} bytes\n"
            f"{pretty(letter.content)}"
        )


def retry_letters(config: Path | None, given: Mapping[str, Any], chosen: Selection) -> bool:
    """Try them again; whether all were delivered.

    Raises:
        DeliveryError: PulseStream cannot be asked; the letters that were not tried stay as they are.
    """
    # As SIGINT does: what was found out by then is written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = _settings(config, given)
    client = pulsestream_client(settings.pulsestream)
    with closing(client), maintaining(settings) as journal, progress("retrying") as report:
        client.check()
        ours = _Acknowledged(journal)
        total = sum(1 for _ in ours.of(chosen.of(journal)))
        retry = Retry(
            journal,
            client,
            channels=settings.feed.channels,
            rules=event_rules(settings),
            after_seconds=settings.delivery.confirm_after_seconds,
            report=lambda done: report("dead letters", done, total),
        )
        try:
            result = retry.run(ours.of(chosen.of(journal)))
        finally:
            result = retry.result
            ours.tell()
            left = sum(1 for _ in journal.dead_letters())
            if result.without_event:
                typer.echo(f"{result.without_event} frames can be read now, and make no event", err=True)
            typer.echo(f"{result.delivered} delivered, {result.failed} failed again; {left} dead letters remain")
    return not result.failed


def export_letters(config: Path | None, given: Mapping[str, Any], chosen: Selection, file: Path) -> None:
    """Write them to a file, which is there whole or not at all, or to standard output."""
    with reading(_settings(config, given)) as journal:
        if str(file) == "-":
            for letter in chosen.of(journal):
                typer.echo(exported(letter))
            return
        count = 0
        draft = file.with_name(file.name + ".draft")
        try:
            with draft.open("w", encoding="utf-8") as lines:
                for letter in chosen.of(journal):
                    lines.write(exported(letter) + "\n")
                    count += 1
            draft.replace(file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise typer.BadParameter(f"cannot write {file}: {error.strerror}", param_hint="FILE") from error
    typer.echo(f"{count} dead letters written to {file}", err=True)


def purge_letters(config: Path | None, given: Mapping[str, Any], chosen: Selection, *, sure: bool) -> None:
    """Delete them for good, once somebody says so."""
    with maintaining(_settings(config, given)) as journal:
        ours = _Acknowledged(journal)
        count = sum(1 for _ in ours.of(chosen.of(journal)))
        ours.tell()
        if not count:
            typer.echo("there is no dead letter" + (" that fits" if chosen.narrows else ""))
            return
        if not sure:
            question = f"Purge {count} dead letters? Their events are gone for good, and count as dropped."
            typer.confirm(question, abort=True, err=True)
        portion: list[DeadLetter] = []
        purged = 0
        for letter in ours.of(chosen.of(journal)):
            portion.append(letter)
            if len(portion) == _PURGED_AT_ONCE:
                purged += _purge(journal, portion)
        purged += _purge(journal, portion)
        left = sum(1 for _ in journal.dead_letters())
    typer.echo(f"{purged} purged; {left} dead letters remain")


class _Acknowledged:
    """Keeps hands off letters whose frames the delivery has not acknowledged: it may still be sending them itself."""

    def __init__(self, journal: Journal) -> None:
        self._cursor = journal.cursor(CONSUMER)
        self._left_alone: set[tuple[int, str]] = set()

    def of(self, letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        for letter in letters:
            if letter.offset <= self._cursor:
                yield letter
            else:
                self._left_alone.add((letter.offset, letter.event_id))

    def tell(self) -> None:
        if self._left_alone:
            logger.warning("[WAITING] {} letters are still in the hands of the delivery", len(self._left_alone))


def _purge(journal: Journal, portion: list[DeadLetter]) -> int:
    # In this order: cut off in between, they are purged and there still; never neither.
    remember_purged(journal, [letter.offset for letter in portion])
    journal.remove_dead_letters([(letter.offset, letter.event_id) for letter in portion])
    count = len(portion)
    portion.clear()
    return count


def _settings(config: Path | None, given: Mapping[str, Any]) -> Settings:
    settings = load(config, given)
    configure(secrets=settings.secrets(), form=settings.log.format, stream=sys.stderr)
    return settings


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    return (
        plain(key_of(letter)),
        letter.stage,
        moment(letter.last_attempt),
        str(letter.attempts),
        plain(letter.reason),
    )
