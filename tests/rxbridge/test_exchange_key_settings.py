"""The key of the Exchange among the settings: from wherever it comes, and never shown."""

from __future__ import annotations

import pickle
import pprint
import traceback
from pathlib import Path

import pytest

from rxbridge.config import load
from rxbridge.errors import ConfigError

SECRETS = ("key-9fQ2+zT7", "c2VjcmV0LW9mLXRoZS1rZXk=", "phrase~4&xK8")
NAMES = ("api_key", "api_secret", "api_passphrase")
DIRECT = {f"RXBRIDGE_FEED_{name.upper()}": secret for name, secret in zip(NAMES, SECRETS, strict=True)}


def from_files(folder: Path) -> dict[str, str]:
    environment: dict[str, str] = {}
    for name, secret in zip(NAMES, SECRETS, strict=True):
        (folder / name).write_text(f"{secret}\n")
        environment[f"RXBRIDGE_FEED_{name.upper()}_FILE"] = str(folder / name)
    return environment


def require_untold(*texts: str) -> None:
    for text in texts:
        assert not [secret for secret in SECRETS if secret in text]


def test_it_comes_from_the_environment_the_file_or_files_of_its_own(tmp_path: Path) -> None:
    settings_file = tmp_path / "settings.toml"
    settings_file.write_text(
        "[feed]\n" + "".join(f'{name} = "{secret}"\n' for name, secret in zip(NAMES, SECRETS, strict=True))
    )
    for settings in (
        load(Path("/dev/null"), {}, DIRECT),
        load(Path("/dev/null"), {}, from_files(tmp_path)),
        load(settings_file, {}, {}),
        load(Path("/dev/null"), dict(zip([f"feed.{name}" for name in NAMES], SECRETS, strict=True)), {}),
    ):
        assert settings.feed.credentials() == SECRETS
        assert set(SECRETS) <= set(settings.secrets())


def test_there_need_be_none() -> None:
    settings = load(Path("/dev/null"), {}, {})
    assert settings.feed.credentials() is None
    assert settings.secrets() == ()


def test_no_view_of_the_settings_shows_it(tmp_path: Path) -> None:
    settings = load(Path("/dev/null"), {}, DIRECT)
    for one in (settings, settings.feed, settings.feed.model_copy(update={"stall_seconds": 1.0})):
        require_untold(repr(one), str(one), pprint.pformat(one), str(vars(one)))
    require_untold(settings.feed.model_dump_json(), "\n".join(settings.shown().values()))
    with pytest.raises(TypeError, match="key"):
        pickle.dumps(settings.feed)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({**DIRECT, "RXBRIDGE_FEED_API_SECRET_FILE": "x"}, "api_secret and api_secret_file are both set"),
        ({"RXBRIDGE_FEED_API_KEY": SECRETS[0]}, "there is api_key and no api_secret"),
        ({"RXBRIDGE_FEED_API_PASSPHRASE": SECRETS[2]}, "there is api_passphrase and no api_key"),
        ({**DIRECT, "RXBRIDGE_FEED_PROTOCOL": "advanced"}, "the feed 'advanced' takes no such key"),
    ],
)
def test_what_is_wrong_with_it_is_named_and_not_shown(environment: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        load(Path("/dev/null"), {}, environment)
    require_untold("".join(traceback.format_exception(refused.value)))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_that_holds_nothing_usable_is_named(tmp_path: Path, content: bytes | None) -> None:
    environment = from_files(tmp_path)
    path = tmp_path / "api_secret"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    settings = load(Path("/dev/null"), {}, environment)

    with pytest.raises(ConfigError, match=r"^feed\.api_secret"):
        settings.feed.credentials()
    assert settings.feed.secrets() == ()
