"""`rxbridge config`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from rxbridge.config import load


def print_settings(config: Path | None, arguments: Mapping[str, Any]) -> None:
    """One line a setting: its name, its value, and where that came from."""
    settings = load(config, arguments)
    values = settings.shown()
    name_width = max(map(len, values))
    value_width = max(len(value) for value in values.values())
    for name, value in values.items():
        origin = settings.origins[name]
        source = origin.kind if origin.kind == "default" else f"{origin.kind} {origin.name}"
        typer.echo(f"{name:<{name_width}}  {value:<{value_width}}  {source}")
