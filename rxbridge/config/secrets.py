"""Secrets among the settings: as they are, or in a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from rxbridge.errors import ConfigError


def secret_text(
    setting: str, secret: SecretStr | None, file: Path | None, *, problem: str = "is empty", hint: str = ""
) -> str:
    """A secret, from wherever it is, without the white space around it.

    Args:
        setting: Its full name; that of its file ends in `_file`.
        secret: The secret itself.
        file: Otherwise, the file that holds it.
        problem: What is wrong if it is empty.
        hint: What to do about that.

    Raises:
        ConfigError: The file cannot be read, or there is nothing in it.
    """
    text = ""
    if secret is not None:
        text = secret.get_secret_value().strip()
    elif file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise ConfigError(f"{setting}_file", f"cannot read {file}: {reason}") from None
    if not text:
        raise ConfigError(setting, problem, hint)
    return text
