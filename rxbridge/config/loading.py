"""Reading the settings, and knowing where each value came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ByteSize, SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from rxbridge.config.sections import (
    SECTIONS,
    BackfillSettings,
    BatchSettings,
    DeliverySettings,
    EventSettings,
    FeedSettings,
    JournalSettings,
    LogSettings,
    PulseStreamSettings,
    RunSettings,
    Section,
)
from rxbridge.errors import ConfigError
from rxbridge.suggestions import nearest

_OPTIONS = {
    "feed.protocol": "--feed",
    "feed.url": "--feed-url",
    "pulsestream.url": "--pulsestream-url",
    "journal.path": "--journal",
}
"""What arguments are called that are not called after their field."""


@dataclass(frozen=True)
class Origin:
    """Where a value came from: `default`, `file`, `environment` or `argument`, and the name that it has there."""

    kind: Literal["default", "file", "environment", "argument"]
    name: str


@dataclass(frozen=True)
class Settings:
    """All sections, and the origin of every value by its full name, such as `feed.url`."""

    feed: FeedSettings
    backfill: BackfillSettings
    journal: JournalSettings
    batch: BatchSettings
    delivery: DeliverySettings
    pulsestream: PulseStreamSettings
    events: EventSettings
    run: RunSettings
    log: LogSettings
    origins: Mapping[str, Origin]

    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any output."""
        return (*self.pulsestream.secrets(), *self.feed.secrets())

    def shown(self) -> dict[str, str]:
        """Every value as text, by its full name, secrets hidden."""
        return {
            f"{section.table}.{name}": _shown(getattr(getattr(self, section.table), name))
            for section in SECTIONS
            for name in section.model_fields
        }


def differences(before: Settings, after: Settings) -> list[str]:
    """The full names of the settings that have other values; never the values, which may be secrets."""
    return [
        f"{section.table}.{name}"
        for section in SECTIONS
        for name in section.model_fields
        if getattr(getattr(before, section.table), name) != getattr(getattr(after, section.table), name)
    ]


def environment_name(section: type[Section], field: str) -> str:
    """The environment variable of a setting."""
    return f"{section.model_config.get('env_prefix', '')}{field}".upper()


def load(
    path: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    called: Callable[[str], str] | None = None,
) -> Settings:
    """Read the settings.

    Args:
        path: The file; None takes `rxbridge.toml` of the working directory if there is one.
        arguments: Values by full name, such as `feed.url`; None values count as absent.
        environment: None takes that of the process.
        called: What an argument is called where it was given, by its full name; None for the options of the command.

    Raises:
        ConfigError: A name that is not known, a value that is not valid, or a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    _refuse_unknown_variables(environment)
    tables = _read_file(path)
    called = called or _option
    given = {name: (value, called(name)) for name, value in (arguments or {}).items() if value is not None}
    origins: dict[str, Origin] = {}
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        sections[section.table] = _load_section(section, tables.get(section.table, {}), environment, given, origins)
    return Settings(**sections, origins=origins)


def _load_section(
    section: type[Section],
    table: Mapping[str, Any],
    environment: Mapping[str, str],
    arguments: Mapping[str, tuple[Any, str]],
    origins: dict[str, Origin],
) -> Section:
    values: dict[str, Any] = {}
    from_environment = _from_environment(section, environment)
    for field in section.model_fields:
        name = f"{section.table}.{field}"
        origin = Origin("default", name)
        if field in table:
            values[field], origin = table[field], Origin("file", f"[{section.table}] {field}")
        if field in from_environment:
            values[field] = from_environment[field]
            origin = Origin("environment", environment_name(section, field))
        if name in arguments:
            values[field], called = arguments[name]
            origin = Origin("argument", called)
        origins[name] = origin
    try:
        return section(**values)
    except ValidationError as error:
        problem = _explained(section, error, origins)
    # Raised out here, it carries no context: that one holds the value, which may be the key.
    raise problem


def _option(name: str) -> str:
    return _OPTIONS.get(name, "--" + name.partition(".")[2].replace("_", "-"))


def _from_environment(section: type[Section], environment: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(section)
    prefix = source.env_prefix.lower()
    source.env_vars = {
        name.lower(): value for name, value in environment.items() if value and name.lower().startswith(prefix)
    }
    return source()


def _explained(section: type[Section], error: ValidationError, origins: Mapping[str, Origin]) -> ConfigError:
    """The first thing that is wrong, under the name that the user wrote; never the value, which may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    origin = origins.get(f"{section.table}.{field}")
    name = origin.name if origin is not None else section.table
    if first["type"] == "too_short":
        return ConfigError(name, "is empty", "give at least one")
    return ConfigError(name, first["msg"].removeprefix("Value error, "))


def _read_file(path: Path | None) -> dict[str, dict[str, Any]]:
    default = Path("rxbridge.toml")
    if path is None:
        if not default.exists():
            return {}
        path = default
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not valid TOML: {error}") from None
    known = {section.table: section for section in SECTIONS}
    for name, table in tables.items():
        if name not in known:
            raise ConfigError(f"{path}: [{name}]", f"unknown section{nearest(name, list(known))}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name}", f"is a section: write [{name}] and its settings below")
        fields = tuple(known[name].model_fields)
        for field in table:  # pyright: ignore[reportUnknownVariableType]
            if field not in fields:
                raise ConfigError(
                    f"{path}: [{name}] {field}",
                    f"unknown setting{nearest(str(field), fields)}",  # pyright: ignore[reportUnknownArgumentType]
                )
    return tables


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = [environment_name(section, field) for section in SECTIONS for field in section.model_fields]
    for name in environment:
        if name.startswith(("RXBRIDGE_", "PULSESTREAM_API_")) and name not in known:
            raise ConfigError(name, f"unknown setting in the environment{nearest(name, known)}")


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(hidden)"
    if isinstance(value, ByteSize):
        return value.human_readable()
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return "" if value is None else str(value)
