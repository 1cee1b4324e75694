"""`rxbridge gaps`: what is known to be missing, and why; and taking note of what a damaged file has lost."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rxbridge.cli.options import Config, JournalPath

gaps_app: typer.Typer = typer.Typer(help="List what is known to be missing, and why.")


class Kind(StrEnum):
    """Kinds of gaps: the market's two, then the journal's three."""

    TRADES = "trades"
    QUOTES = "quotes"
    DROPPED = "dropped"
    CORRUPT = "corrupt"
    QUARANTINED = "quarantined"


@gaps_app.callback(invoke_without_command=True)
def show_gaps(
    context: typer.Context,
    kind: Annotated[list[Kind] | None, typer.Option(help="Only gaps of this kind; may be given again.")] = None,
    product: Annotated[list[str] | None, typer.Option(help="Only gaps of this product; may be given again.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each gap as a JSON object, one a line.")] = False,
    journal: JournalPath = None,
    config: Config = None,
) -> None:
    """List what is known to be missing, and why."""
    if context.invoked_subcommand is not None:
        return
    from rxbridge.cli.gaps_work import list_gaps

    list_gaps(config, journal, kinds=kind or (), products=product or (), as_json=json)


@gaps_app.command()
def acknowledge(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    journal: Annotated[Path | None, typer.Option("--journal", help="The journal's file.")] = None,
    config: Config = None,
) -> None:
    """Take note of what a damaged journal file has lost, so that an audit no longer fails because of it."""
    from rxbridge.cli.gaps_work import acknowledge_damage

    acknowledge_damage(config, journal, sure=yes)
