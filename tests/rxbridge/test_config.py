"""Settings: precedence, origins, and errors that help."""

from pathlib import Path

import pytest

from rxbridge.config import SECTIONS, differences, environment_name, load
from rxbridge.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_arguments_go_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, '[feed]\nurl = "ws://file"\nproducts = ["A-B"]\nstall_seconds = 3\n')
    environment = {"RXBRIDGE_FEED_URL": "ws://environment", "RXBRIDGE_FEED_PRODUCTS": "C-D, E-F"}

    settings = load(path, {"feed.url": "ws://argument", "feed.channels": None}, environment)

    assert settings.feed.url == "ws://argument"
    assert settings.feed.products == ("C-D", "E-F")
    assert settings.feed.stall_seconds == 3
    assert settings.feed.channels == ("ticker", "matches")
    kinds = {name: settings.origins[f"feed.{name}"].kind for name in ("url", "products", "stall_seconds", "channels")}
    assert kinds == {"url": "argument", "products": "environment", "stall_seconds": "file", "channels": "default"}


def test_every_setting_can_be_set_from_the_environment() -> None:
    samples = {
        "feed.protocol": "advanced",
        "feed.url": "ws://host",
        "feed.channels": "ticker",
        "backfill.url": "http://host",
        "backfill.since": "2026-01-31T08:00:00Z",
        "journal.overflow": "block",
        "journal.synchronous": "full",
        "delivery.confirm": "all",
        "delivery.overload": "conflate",
        "events.book": "full",
        "run.role": "feed",
        "log.format": "json",
    }
    for section in SECTIONS:
        for field, information in section.model_fields.items():
            flag = type(information.default) is bool
            sample = samples.get(f"{section.table}.{field}", "true" if flag else "7")
            environment = {"RXBRIDGE_FEED_PROTOCOL": "advanced", environment_name(section, field): sample}
            if field.startswith("api_"):
                parts = {name: f"RXBRIDGE_FEED_{name.upper()}" for name in ("api_key", "api_secret", "api_passphrase")}
                whole = {variable: "7" for name, variable in parts.items() if not field.startswith(name)}
                environment |= {**whole, "RXBRIDGE_FEED_PROTOCOL": "exchange"}
            settings = load(Path("/dev/null"), {}, environment)
            assert settings.origins[f"{section.table}.{field}"].kind == "environment"


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ({}, "wss://ws-feed.exchange.coinbase.com"),
        ({"feed.protocol": "advanced"}, "wss://advanced-trade-ws.coinbase.com"),
        ({"feed.protocol": "advanced", "feed.url": "ws://host"}, "ws://host"),
    ],
)
def test_each_feed_has_an_address_of_its_own(arguments: dict[str, str], url: str) -> None:
    assert load(Path("/dev/null"), arguments, {}).feed.url == url


def test_a_channel_has_one_name_on_both_feeds() -> None:
    arguments = {"feed.protocol": "advanced", "feed.channels": "trades, candles, market_trades, ticker, heartbeats"}

    assert load(Path("/dev/null"), arguments, {}).feed.channels == ("matches", "candles", "ticker", "heartbeat")


def test_the_mission_s_names_of_address_and_key_work() -> None:
    environment = {"PULSESTREAM_API_URL": "http://host:1/api/v1/ingestion/events", "PULSESTREAM_API_KEY": "a key"}

    settings = load(Path("/dev/null"), {}, environment)

    assert settings.pulsestream.url == "http://host:1/api/v1/ingestion/events"
    assert settings.pulsestream.secret() == "a key"


def test_the_key_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("from the file\n", encoding="utf-8")

    assert load(Path("/dev/null"), {}, {"PULSESTREAM_API_KEY_FILE": str(path)}).pulsestream.secret() == "from the file"


def test_there_is_no_default_key() -> None:
    with pytest.raises(ConfigError, match="PULSESTREAM_API_KEY"):
        load(Path("/dev/null"), {}, {}).pulsestream.secret()


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    settings = load(Path("/dev/null"), {}, {"PULSESTREAM_API_KEY_FILE": str(tmp_path / "absent")})

    with pytest.raises(ConfigError, match="absent: No such file"):
        settings.pulsestream.secret()


def test_the_key_is_in_no_view_of_the_settings() -> None:
    settings = load(Path("/dev/null"), {}, {"PULSESTREAM_API_KEY": "hush-hush"})

    assert "hush-hush" not in f"{settings} {settings!r} {settings.shown()} {settings.pulsestream.model_dump_json()}"


def test_the_key_is_in_no_error_about_the_settings() -> None:
    environment = {"PULSESTREAM_API_KEY": "hush-hush", "PULSESTREAM_API_KEY_FILE": "somewhere"}

    with pytest.raises(ConfigError) as caught:
        load(Path("/dev/null"), {}, environment)

    assert "hush-hush" not in str(caught.value)
    assert "both set" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[fed]\n", r"\[fed\]: unknown section; did you mean 'feed'\?"),
        ("[feed]\nproduct = 1\n", r"\[feed\] product: unknown setting; did you mean 'products'\?"),
        ("[feed]\nzzz = 1\n", r"known are api_key, "),
        ('[feed]\nchannels = ["tickr"]\n', r"\[feed\] channels: unknown channel 'tickr'; did you mean 'ticker'\?"),
        ('[feed]\nchannels = ["candles"]\n', r"\[feed\] channels: the feed 'exchange' has no channel 'candles'; known"),
        ('[feed]\nprotocol = "advance"\n', r"\[feed\] protocol: Input should be 'exchange' or 'advanced'"),
        ('[feed]\nkey_file = "key.json"\n', r"\[feed\] key_file: the feed 'exchange' takes no key"),
        ("[batch]\ncount = 0\n", r"\[batch\] count: .*greater than or equal to 1"),
        ('[feed]\nurl = "http://host"\n', r"\[feed\] url: must start with ws:// or wss://"),
        ("feed = 1\n", r"write \[feed\]"),
        ("[feed\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(write(tmp_path, text), {}, {})


def test_an_unknown_variable_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"RXBRIDGE_FEED_PRODUCT: .*did you mean 'RXBRIDGE_FEED_PRODUCTS'\?"):
        load(Path("/dev/null"), {}, {"RXBRIDGE_FEED_PRODUCT": "BTC-USD"})


def test_a_file_that_is_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "absent.toml", {}, {})


def test_the_working_directory_s_file_is_read_if_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rxbridge.toml").write_text("[batch]\ncount = 7\n", encoding="utf-8")

    assert load(None, {}, {}).batch.count == 7


def test_what_must_not_appear_is_the_key_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("in the file\n", encoding="utf-8")

    for environment, secrets in (
        ({"PULSESTREAM_API_KEY": "given"}, ("given",)),
        ({"PULSESTREAM_API_KEY_FILE": str(path)}, ("in the file",)),
        ({}, ()),
    ):
        assert load(Path("/dev/null"), {}, environment).pulsestream.secrets() == secrets


def test_differences_are_named_and_not_shown() -> None:
    before = load(Path("/dev/null"), {"pulsestream.key": "one"}, {})
    after = load(Path("/dev/null"), {"pulsestream.key": "two", "feed.products": "SOL-USD"}, {})
    assert differences(before, after) == ["feed.products", "pulsestream.key"]
    assert differences(after, after) == []
