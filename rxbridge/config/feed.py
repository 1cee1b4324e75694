"""The section of the feed, with the key of the Exchange in it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NoReturn, SupportsIndex

from pydantic import ByteSize, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from rxbridge.channels import FEED_URLS, FeedName, canonical
from rxbridge.config.secrets import secret_text
from rxbridge.config.section import Names, Seconds, Section
from rxbridge.errors import ConfigError


class FeedSettings(Section):
    """Where the market data comes from."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="RXBRIDGE_FEED_")
    table = "feed"

    protocol: FeedName = Field("exchange", description="which feed: exchange, or advanced for Advanced Trade")
    url: str = Field(
        "", validate_default=True, description="WebSocket address of the feed; by default Coinbase's, by protocol"
    )
    products: Names = Field(
        ("BTC-USD", "ETH-USD"), description="products: ids, wildcards such as *-USD, or all; separated by commas"
    )
    products_check_seconds: Seconds = Field(3600, description="how long between two looks at Coinbase's list of them")
    channels: Names = Field(
        ("ticker", "matches"),
        description="channels: ticker, ticker_batch, trades (or matches), level2, status, heartbeat; on exchange also "
        "auctionfeed and, with a key, full and rfq_matches; on advanced candles",
    )
    products_per_connection: int = Field(
        100, ge=1, description="most products on one connection; more are spread over several"
    )
    connections: int = Field(
        1, ge=1, description="how many connections bring each product; with 2 the end of one costs nothing"
    )
    stall_seconds: Seconds = Field(15, description="a connection without any frame for so long is dead")
    connect_timeout_seconds: Seconds = Field(15, description="how long opening a connection may take")
    backoff_minimum_seconds: Seconds = Field(0.25, description="first wait before a reconnect; doubles each time")
    backoff_maximum_seconds: Seconds = Field(30, description="longest wait before a reconnect")
    max_frame_bytes: ByteSize = Field(ByteSize(64 * 2**20), description="a larger frame ends the connection")
    book_refresh_seconds: float = Field(
        3600, ge=0, description="time in which each book of the Exchange is begun anew once; 0 for never"
    )
    book_doubt_seconds: Seconds = Field(30, description="how long after its beginning a wrong book is left as it is")
    ca_file: Path | None = Field(None, description="certificates to trust besides the system's, for a proxy or a test")
    key_file: Path | None = Field(None, description="Coinbase key that signs what is asked for; on advanced only")

    api_key: SecretStr | None = Field(None, description="key of Coinbase Exchange, for channels that need one")
    api_key_file: Path | None = Field(None, description="a file that holds the key")
    api_secret: SecretStr | None = Field(None, description="the secret of that key")
    api_secret_file: Path | None = Field(None, description="a file that holds the secret")
    api_passphrase: SecretStr | None = Field(None, description="the passphrase of that key")
    api_passphrase_file: Path | None = Field(None, description="a file that holds the passphrase")

    @field_validator("products", "channels", mode="before")
    @classmethod
    def split_at_commas(cls, value: object) -> object:
        """`BTC-USD, ETH-USD` is two names."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("channels")
    @classmethod
    def known_channels(cls, value: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        """Only what rxbridge can deliver of the feed, each once, and by the name that the program has for it."""
        feed = others.data.get("protocol", "exchange")
        return tuple(dict.fromkeys(canonical(name, feed) for name in value))

    @field_validator("key_file")
    @classmethod
    def taken_by_the_feed(cls, value: Path | None, others: ValidationInfo) -> Path | None:
        """Only Advanced Trade takes such a key."""
        if value is not None and others.data.get("protocol") == "exchange":
            raise ValueError("the feed 'exchange' takes no key")
        return value

    @field_validator("api_key", "api_key_file")
    @classmethod
    def taken_by_the_exchange(cls, value: SecretStr | Path | None, others: ValidationInfo) -> SecretStr | Path | None:
        """Only the Exchange takes such a key."""
        if value is not None and others.data.get("protocol") == "advanced":
            raise ValueError("the feed 'advanced' takes no such key")
        return value

    @model_validator(mode="after")
    def one_of_each(self) -> FeedSettings:
        """Each of the three, or the file that holds it; none or all of them."""
        parts = ("api_key", "api_secret", "api_passphrase")
        for name in parts:
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"{name} and {name}_file are both set; set one of them")
        given = [name for name in parts if getattr(self, name) is not None or getattr(self, f"{name}_file") is not None]
        if given and given != list(parts):
            missing = next(name for name in parts if name not in given)
            raise ValueError(f"there is {given[0]} and no {missing}; key, secret and passphrase belong together")
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Not to be pickled: what is printed hides the key, and a pickle would hold it."""
        raise TypeError("the settings hold a key, and are not to be pickled")

    def credentials(self) -> tuple[str, str, str] | None:
        """Key, secret and passphrase, from wherever they are; None if there are none.

        Raises:
            ConfigError: A file cannot be read, or something is empty.
        """
        if self.api_key is None and self.api_key_file is None:
            return None
        return (
            secret_text("feed.api_key", self.api_key, self.api_key_file),
            secret_text("feed.api_secret", self.api_secret, self.api_secret_file),
            secret_text("feed.api_passphrase", self.api_passphrase, self.api_passphrase_file),
        )

    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any output."""
        try:
            return self.credentials() or ()
        except ConfigError:
            return ()

    @field_validator("url")
    @classmethod
    def websocket_address(cls, value: str, others: ValidationInfo) -> str:
        """`ws://` or `wss://`; if there is none, that of the feed."""
        if not value:
            return FEED_URLS[others.data.get("protocol", "exchange")]
        if not value.startswith(("ws://", "wss://")):
            raise ValueError("must start with ws:// or wss://")
        return value
