"""The sections: what can be set, what it is by default, and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, NoReturn, SupportsIndex

from pydantic import AwareDatetime, ByteSize, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from rxbridge.config.feed import FeedSettings
from rxbridge.config.secrets import secret_text
from rxbridge.config.section import Names, Seconds, Section
from rxbridge.errors import ConfigError

_KEY_HINT = "set PULSESTREAM_API_KEY or PULSESTREAM_API_KEY_FILE"


class BackfillSettings(Section):
    """How trades that the feed did not bring are fetched from Coinbase's REST API."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_BACKFILL_")
    table = "backfill"

    enabled: bool = Field(default=True, description="whether missing trades are looked for and fetched")
    url: str | None = Field(None, description="address of the REST API; by default that which belongs to feed.url")
    since: AwareDatetime | None = Field(
        None, description="an empty journal begins with the trades since then, such as 2026-01-31T08:00:00Z"
    )
    max_trades: int = Field(1_000_000, ge=1, description="most trades fetched for one hole; what is older is a gap")
    max_age_seconds: Seconds = Field(7 * 86400, description="older trades are not fetched but a gap")
    requests_per_second: Annotated[float, Field(gt=0, le=10)] = Field(
        8, description="most requests in a second; Coinbase takes 10"
    )

    @field_validator("url")
    @classmethod
    def web_address(cls, value: str | None) -> str | None:
        """`http://` or `https://`."""
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value


class JournalSettings(Section):
    """Where frames wait, and how much of the disk they may take."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_JOURNAL_")
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

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_BATCH_")
    table = "batch"

    count: int = Field(100, ge=1, le=1000, description="events in a batch")
    seconds: Seconds = Field(0.25, description="time after its first event")
    bytes: ByteSize = Field(ByteSize(1_000_000), gt=0, description="size of its events")
    target_seconds: Seconds = Field(2, description="a request that takes longer is followed by smaller ones")


class DeliverySettings(Section):
    """What is done about a PulseStream that lies, or that is slower than the market."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_DELIVERY_")
    table = "delivery"

    confirm: Literal["none", "sample", "all"] = Field(
        "sample", description="which delivered events are proven to be stored, and sent again where they are not"
    )
    confirm_after_seconds: Seconds = Field(5, description="how long after their delivery they are looked for")
    overload: Literal["keep", "conflate", "drop_oldest"] = Field(
        "keep",
        description="when PulseStream is slower than the market: keep lets the journal grow, conflate gives up all "
        "but the newest ticker of a product, drop_oldest whatever waited too long",
    )
    overload_max_age_seconds: Seconds = Field(60, description="how long is too long for drop_oldest")


class PulseStreamSettings(Section):
    """Where the events go."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="PULSESTREAM_API_")
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
    events_per_minute: int | None = Field(
        None, ge=1, description="the tenant's rate limit; by default it is learnt from refusals"
    )
    ca_file: Path | None = Field(None, description="certificates to trust besides the system's")

    @model_validator(mode="after")
    def one_key(self) -> PulseStreamSettings:
        """The key, or the file that holds it."""
        if self.key is not None and self.key_file is not None:
            raise ValueError("key and key_file are both set; set one of them")
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Not to be pickled: what is printed hides the key, and a pickle would hold it."""
        raise TypeError("the settings hold a key, and are not to be pickled")

    def secret(self) -> str:
        """The key itself, from wherever it is.

        Raises:
            ConfigError: There is none, or its file cannot be read.
        """
        if self.key is None and self.key_file is None:
            raise ConfigError("pulsestream.key", "no API key", _KEY_HINT)
        return secret_text("pulsestream.key", self.key, self.key_file, problem="no API key", hint=_KEY_HINT)

    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any output: the key, if there is one."""
        try:
            return (self.secret(),)
        except ConfigError:
            return ()


class EventSettings(Section):
    """What events hold."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_EVENTS_")
    table = "events"

    environment: str = Field("production", min_length=1, max_length=50, description="source.environment of every event")
    raw: bool = Field(default=True, description="whether an event holds what Coinbase sent, as it came")
    book: Literal["images", "full"] = Field(
        "images", description="what is told of order books: images of the best levels, or full: all, in parts"
    )
    book_depth: int = Field(10, ge=1, le=1000, description="levels of each side in the image of an order book")
    book_seconds: Seconds = Field(1, description="time between two images of a product's book, if it has changed")


class RunSettings(Section):
    """How the process behaves."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_RUN_")
    table = "run"

    role: Literal["both", "feed", "deliver"] = Field("both", description="which half this process is")
    shutdown_seconds: Seconds = Field(8, description="how long a shutdown may take; what is left waits in the journal")
    exit_when_idle: float | None = Field(
        None, gt=0, description="seconds: end when nothing came or was delivered for so long and nothing waits"
    )
    dry_run: bool = Field(default=False, description="print batches as JSON lines instead of sending them")
    pipeline: Names = Field(
        ("builtin",),
        description="what makes the events: builtin, module:function, or path/to/file.py:function; separated by commas",
    )

    @field_validator("pipeline", mode="before")
    @classmethod
    def split_at_commas(cls, value: object) -> object:
        """`builtin, my_module:pipeline` is two."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value


class LogSettings(Section):
    """What is told on standard error."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_LOG_")
    table = "log"

    format: Literal["auto", "pretty", "json"] = Field("auto", description="auto: pretty on a terminal, else JSON lines")
    verbose: bool = Field(default=False, description="a line for every event")
    repeat_seconds: Seconds = Field(10, description="the same warning is told once in this time, with a count")


SECTIONS: tuple[type[Section], ...] = (
    FeedSettings,
    BackfillSettings,
    JournalSettings,
    BatchSettings,
    DeliverySettings,
    PulseStreamSettings,
    EventSettings,
    RunSettings,
    LogSettings,
)
