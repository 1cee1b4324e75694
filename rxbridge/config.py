"""The settings: one class a section, and where each value came from.

Arguments go over the environment, that over the file, that over the defaults. Every unknown name is an error that
suggests the nearest known one, because a setting that is silently ignored is worse than none.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from rxbridge.errors import ConfigError

Seconds = Annotated[float, Field(gt=0)]
Names = Annotated[tuple[str, ...], NoDecode, Field(min_length=1)]


class Section(BaseSettings):
    """A table of the file, a prefix in the environment, and a group of arguments: the same names in all three."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True, case_sensitive=False)

    table: ClassVar[str]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` passes: it merges the sources itself, to know where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


class FeedSettings(Section):
    """Where the market data comes from."""

    model_config = SettingsConfigDict(env_prefix="RXBRIDGE_FEED_")
    table = "feed"

    url: str = Field("wss://ws-feed.exchange.coinbase.com", description="WebSocket address of the feed")
    products: Names = Field(("BTC-USD", "ETH-USD"), description="products, separated by commas")
    channels: Names = Field(("ticker", "matches"), description="channels: ticker, matches, heartbeat")
    stall_seconds: Seconds = Field(15, description="a connection without any frame for so long is dead")
    connect_timeout_seconds: Seconds = Field(15, description="how long opening a connection may take")
    backoff_minimum_seconds: Seconds = Field(0.25, description="first wait before a reconnect; doubles each time")
    backoff_maximum_seconds: Seconds = Field(30, description="longest wait before a reconnect")
    max_frame_bytes: ByteSize = Field(ByteSize(64 * 2**20), description="a larger frame ends the connection")
    ca_file: Path | None = Field(None, description="certificates to trust besides the system's, for a proxy or a test")

    @field_validator("products", "channels", mode="before")
    @classmethod
    def split_at_commas(cls, value: object) -> object:
        """`BTC-USD, ETH-USD` is two names."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("channels")
    @classmethod
    def known_channels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Only what rxbridge can deliver."""
        known = ("ticker", "matches", "heartbeat")
        for name in value:
            if name not in known:
                raise ValueError(f"unknown channel {name!r}{nearest(name, known)}")
        return value

    @field_validator("url")
    @classmethod
    def websocket_address(cls, value: str) -> str:
        """`ws://` or `wss://`."""
        if not value.startswith(("ws://", "wss://")):
            raise ValueError("must start with ws:// or wss://")
        return value


class JournalSettings(Section):
    """Where frames wait, and how much of the disk they may take."""

    model_config = SettingsConfigDict(env_prefix="RXBRIDGE_JOURNAL_")
    table = "journal"

    path: Path = Field(Path("rxbridge.journal"), description="the journal's file")
    max_bytes: ByteSize = Field(ByteSize(10 * 2**30), description="limit for all frames in it")
    overflow: Literal["drop_oldest", "block"] = Field("drop_oldest", description="what a full journal does")
    keep_bytes: ByteSize = Field(ByteSize(2**30), description="delivered frames are kept up to this size")
    keep_seconds: Seconds = Field(7 * 86400, description="delivered frames are kept up to this age")
    synchronous: Literal["normal", "full"] = Field(
        "normal", description="normal survives a killed process, full a power cut as well, and is slower"
    )


class BatchSettings(Section):
    """How events are put together: a batch closes at whichever limit it meets first."""

    model_config = SettingsConfigDict(env_prefix="RXBRIDGE_BATCH_")
    table = "batch"

    count: int = Field(100, ge=1, le=1000, description="events in a batch")
    seconds: Seconds = Field(0.25, description="time after its first event")
    bytes: ByteSize = Field(ByteSize(1_000_000), gt=0, description="size of its events")


class PulseStreamSettings(Section):
    """Where the events go."""

    model_config = SettingsConfigDict(env_prefix="PULSESTREAM_API_")
    table = "pulsestream"

    url: str = Field("http://127.0.0.1:8000", description="PulseStream: the base, or the address of its ingestion API")
    key: SecretStr | None = Field(None, description="the tenant's API key; there is no default")
    key_file: Path | None = Field(None, description="a file that holds the key, for container secrets")
    connect_timeout_seconds: Seconds = Field(5, description="how long connecting may take")
    read_timeout_seconds: Seconds = Field(120, description="how long an answer may take")
    wait_after_timeout_seconds: Seconds = Field(
        30,
        description="pause before a batch whose answer never came is sent again: the server may still work on it",
    )
    ca_file: Path | None = Field(None, description="certificates to trust besides the system's")

    @model_validator(mode="after")
    def one_key(self) -> PulseStreamSettings:
        """The key, or the file that holds it."""
        if self.key is not None and self.key_file is not None:
            raise ValueError("key and key_file are both set; set one of them")
        return self

    def secret(self) -> str:
        """The key itself, from wherever it is.

        Raises:
            ConfigError: There is none, or its file cannot be read.
        """
        if self.key is not None:
            key = self.key.get_secret_value().strip()
        elif self.key_file is not None:
            try:
                key = self.key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problem = getattr(error, "strerror", None) or "is not text"
                raise ConfigError("pulsestream.key_file", f"cannot read {self.key_file}: {problem}") from None
        else:
            key = ""
        if not key:
            raise ConfigError("pulsestream.key", "no API key", "set PULSESTREAM_API_KEY or PULSESTREAM_API_KEY_FILE")
        return key


class EventSettings(Section):
    """How events are labeled."""

    model_config = SettingsConfigDict(env_prefix="RXBRIDGE_EVENTS_")
    table = "events"

    environment: str = Field("production", min_length=1, max_length=50, description="source.environment of every event")


class RunSettings(Section):
    """How the process behaves."""

    model_config = SettingsConfigDict(env_prefix="RXBRIDGE_RUN_")
    table = "run"

    role: Literal["both", "feed", "deliver"] = Field("both", description="which half this process is")
    shutdown_seconds: Seconds = Field(8, description="how long a shutdown may take; what is left waits in the journal")
    exit_when_idle: float | None = Field(
        None, gt=0, description="seconds: end when no frame came for so long and everything is delivered"
    )
    dry_run: bool = Field(default=False, description="print batches as JSON lines instead of sending them")


class LogSettings(Section):
    """What is told on standard error."""

    model_config = SettingsConfigDict(env_prefix="RXBRIDGE_LOG_")
    table = "log"

    format: Literal["auto", "pretty", "json"] = Field("auto", description="auto: pretty on a terminal, else JSON lines")
    verbose: bool = Field(default=False, description="a line for every event")
    repeat_seconds: Seconds = Field(10, description="the same warning is told once in this time, with a count")


SECTIONS: tuple[type[Section], ...] = (
    FeedSettings,
    JournalSettings,
    BatchSettings,
    PulseStreamSettings,
    EventSettings,
    RunSettings,
    LogSettings,
)


@dataclass(frozen=True)
class Origin:
    """Where a value came from: `default`, `file`, `environment` or `argument`, and the name that it has there."""

    kind: Literal["default", "file", "environment", "argument"]
    name: str


@dataclass(frozen=True)
class Settings:
    """All sections, and the origin of every value by its full name, such as `feed.url`."""

    feed: FeedSettings
    journal: JournalSettings
    batch: BatchSettings
    pulsestream: PulseStreamSettings
    events: EventSettings
    run: RunSettings
    log: LogSettings
    origins: Mapping[str, Origin]

    def shown(self) -> dict[str, str]:
        """Every value as text, by its full name, secrets hidden."""
        return {
            f"{section.table}.{name}": _shown(getattr(getattr(self, section.table), name))
            for section in SECTIONS
            for name in section.model_fields
        }


def environment_name(section: type[Section], field: str) -> str:
    """The environment variable of a setting."""
    return f"{section.model_config.get('env_prefix', '')}{field}".upper()


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """`; did you mean 'ticker'?`, or what there is if nothing is near."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def load(
    path: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings.

    Args:
        path: The file; None takes `rxbridge.toml` of the working directory if there is one.
        arguments: Values by full name, such as `feed.url`; None values count as absent.
        environment: None takes that of the process.

    Raises:
        ConfigError: A name that is not known, a value that is not valid, or a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    _refuse_unknown_variables(environment)
    tables = _read_file(path)
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    origins: dict[str, Origin] = {}
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        sections[section.table] = _load_section(section, tables.get(section.table, {}), environment, given, origins)
    return Settings(**sections, origins=origins)


def _load_section(
    section: type[Section],
    table: Mapping[str, Any],
    environment: Mapping[str, str],
    arguments: Mapping[str, Any],
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
            values[field], origin = arguments[name], Origin("argument", "--" + field.replace("_", "-"))
        origins[name] = origin
    try:
        return section(**values)
    except ValidationError as error:
        raise _explained(section, error, origins) from None


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
