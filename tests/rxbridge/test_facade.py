"""`import rxbridge` costs nothing, and has what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rxbridge

HEAVY = ("reactivex", "pydantic", "requests", "msgspec", "loguru", "rxbridge.cli", "rxbridge.coinbase")


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded in the end."""
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_it_loads_nothing_but_itself() -> None:
    assert not loaded_by("import rxbridge") & set(HEAVY)


def test_the_command_loads_none_of_it() -> None:
    loaded = loaded_by("import rxbridge.cli")
    assert not loaded & {"reactivex", "pydantic", "requests", "rxbridge.embedded", "rxbridge.connecting"}


def test_a_feed_loads_neither_the_settings_nor_pulsestream() -> None:
    loaded = loaded_by("import rxbridge; rxbridge.coinbase.trades")
    assert not loaded & {"pydantic", "rxbridge.pulsestream", "rxbridge.journal", "rxbridge.embedded"}


@pytest.mark.parametrize("name", rxbridge.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(rxbridge, name) is not None
    assert name in dir(rxbridge)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'rxbridge' has no attribute 'brigde'"):
        _ = rxbridge.brigde  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType] that is the point


@pytest.mark.parametrize("name", ["frames", "messages", "tickers", "trades", "books"])
def test_a_feed_is_an_attribute_away(name: str) -> None:
    assert callable(getattr(rxbridge.coinbase, name))
