"""Files of faults.

[[fault]]
kind = "close"
at = 5.0
every = 30.0
code = 1012
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from rxbridge.errors import ConfigError
from rxbridge.faults.fault import Fault
from rxbridge.faults.kinds import Value
from rxbridge.suggestions import nearest

TABLE = "fault"


def read_faults(path: Path) -> tuple[Fault, ...]:
    """The faults of a file, in its order.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong; it says what, in which entry.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"is no UTF-8: {error}") from None
    return parse_faults(text, str(path))


def parse_faults(text: str, name: str = "faults") -> tuple[Fault, ...]:
    """The faults of a TOML text, in its order; `name` is what errors call it.

    Raises:
        ConfigError: Something is wrong; it says what, in which entry, counted from 1.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, f"is not valid TOML: {error}") from None
    for table in document:
        if table != TABLE:
            raise ConfigError(f"{name}: {table}", f"unknown table{nearest(table, [TABLE])}")
    entries: Any = document.get(TABLE, [])
    if not isinstance(entries, list):
        raise ConfigError(f"{name}: {TABLE}", f"is a list: write [[{TABLE}]]")
    return tuple(
        _fault(entry, f"{name}: {TABLE} {number}") for number, entry in enumerate(cast("list[Any]", entries), 1)
    )


def _fault(entry: object, where: str) -> Fault:
    if not isinstance(entry, dict):
        raise ConfigError(where, f"is a table: write [[{TABLE}]]")
    said = cast("dict[str, Any]", dict(entry))  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(kind := said.pop("kind", None), str):
        raise ConfigError(f"{where}: kind", "is missing, or no text", "It says what goes wrong")
    try:
        return Fault(kind, **said)
    except ConfigError as error:
        setting = "kind" if error.setting == "kind" else f"{kind}.{error.setting}"
        raise ConfigError(f"{where}: {setting}", error.problem, error.hint) from None
    except TypeError:
        # The only one: a parameter that is called as the first argument of any method.
        raise ConfigError(f"{where}: {kind}.self", "unknown parameter") from None


def written(faults: Iterable[Fault]) -> str:
    """The TOML text that says these faults: `parse_faults` gives them back."""
    return "\n".join(
        "\n".join((f"[[{TABLE}]]", *(f"{name} = {_toml(value)}" for name, value in fault.written().items()), ""))
        for fault in faults
    )


def _toml(value: Value) -> str:
    # JSON's forms are TOML's too, but for the one control character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
