"""`rxbridge dead-letters`: what was refused for good; to be looked at, tried again, kept elsewhere, or given up."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rxbridge.cli.options import NOT_ALL_DELIVERED, Channels, Config, FeedOption, JournalPath, PulseStreamUrl, arguments

letters_app: typer.Typer = typer.Typer(
    help="List, show, retry, export or purge what was refused for good.", no_args_is_help=True
)


class Stage(StrEnum):
    """Where it failed."""

    PARSE = "parse"
    MAP = "map"
    DELIVER = "deliver"
    PIPELINE = "pipeline"


_KEY_HELP = "As the list shows it: an offset, or an offset and an event id, with a colon between."

StageOption = Annotated[Stage | None, typer.Option(help="Only what failed there.")]
ReasonOption = Annotated[str | None, typer.Option(help="Only those whose reason holds this text, in any case.")]
SinceOption = Annotated[
    str | None,
    typer.Option(help="Only those tried since then: an age, such as 90s, 30m, 2h or 7d, or a time in ISO 8601."),
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest first.")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help=_KEY_HELP)]


@letters_app.command("list")
def list_letters(
    stage: StageOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    limit: LimitOption = 100,
    json: Annotated[bool, typer.Option("--json", help="Print each as a JSON object, one a line.")] = False,
    journal: JournalPath = None,
    config: Config = None,
) -> None:
    """List dead letters, by the order in which their frames were received."""
    from rxbridge.cli.letters import print_letters, selection

    chosen = selection(stage=stage, reason=reason, since=since, limit=limit)
    print_letters(config, arguments(journal=journal), chosen, as_json=json)


@letters_app.command()
def show(
    key: Annotated[str, typer.Argument(help=_KEY_HELP)],
    journal: JournalPath = None,
    config: Config = None,
) -> None:
    """Show one dead letter with all that is known of it, its content included."""
    from rxbridge.cli.letters import print_one, selection

    print_one(config, arguments(journal=journal), selection(keys=[key]))


@letters_app.command()
def retry(
    keys: Keys = None,
    stage: StageOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    limit: LimitOption = None,
    channels: Channels = None,
    feed: FeedOption = None,
    pulsestream_url: PulseStreamUrl = None,
    journal: JournalPath = None,
    config: Config = None,
) -> None:
    """Try dead letters again, all that fit, under the same ids; what is proven to be stored is one no longer."""
    from rxbridge.cli.letters import retry_letters, selection

    chosen = selection(keys=keys or (), stage=stage, reason=reason, since=since, limit=limit)
    given = arguments(channels=channels, pulsestream_url=pulsestream_url, journal=journal, feed=feed)
    if not retry_letters(config, given, chosen):
        raise typer.Exit(NOT_ALL_DELIVERED)


@letters_app.command()
def export(
    file: Annotated[Path, typer.Argument(allow_dash=True, help="JSON lines; - is standard output.")],
    stage: StageOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    limit: LimitOption = None,
    journal: JournalPath = None,
    config: Config = None,
) -> None:
    """Write dead letters to a file, their content included."""
    from rxbridge.cli.letters import export_letters, selection

    chosen = selection(stage=stage, reason=reason, since=since, limit=limit)
    export_letters(config, arguments(journal=journal), chosen, file)


@letters_app.command()
def purge(
    keys: Keys = None,
    stage: StageOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    limit: LimitOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    journal: JournalPath = None,
    config: Config = None,
) -> None:
    """Delete dead letters for good, all that fit; an audit counts their events as dropped."""
    from rxbridge.cli.letters import purge_letters, selection

    chosen = selection(keys=keys or (), stage=stage, reason=reason, since=since, limit=limit)
    purge_letters(config, arguments(journal=journal), chosen, sure=yes)
