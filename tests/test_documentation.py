"""The documents are true: every command, option and setting is in them, and the example file is the defaults."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperArgument, TyperGroup

from rxbridge.cli.application import app
from rxbridge.config import SECTIONS, environment_name, load
from rxbridge.simulator import Simulator

ROOT = Path(__file__).parent.parent
APPLICATION = typer.main.get_command(app)
assert isinstance(APPLICATION, TyperGroup)
COMMANDS = APPLICATION.commands


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_is_documented(command: str) -> None:
    sections = re.split(r"^## ", text("docs/commands.md"), flags=re.MULTILINE)
    (section,) = [part for part in sections if part.startswith(f"`rxbridge {command}`")]

    documented = COMMANDS[command]
    below = documented.commands if isinstance(documented, TyperGroup) else {}
    for name in below:
        assert f"`rxbridge {command} {name}" in section, f"docs/commands.md does not say what {command} {name} does"
    for parameter in [*documented.params, *(parameter for one in below.values() for parameter in one.params)]:
        # What is given without a name stands behind the command, as `KEY`.
        names = [name.upper() for name in parameter.opts] if isinstance(parameter, TyperArgument) else parameter.opts
        for option in names:
            shown = f"`{option}" if option.startswith("-") else option.removesuffix("S")
            assert shown in section, f"docs/commands.md does not say what {command} {option} does"


def test_no_documented_command_is_missing() -> None:
    documented = re.findall(r"^## `rxbridge ([a-z-]+)`", text("docs/commands.md"), flags=re.MULTILINE)

    assert sorted(documented) == sorted(COMMANDS)


def test_the_readme_names_every_command() -> None:
    for name in COMMANDS:
        assert f"rxbridge {name}" in text("README.md")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.table)
def test_every_setting_is_documented(section: type) -> None:
    document = text("docs/configuration.md")
    for field in section.model_fields:
        row = f"| `{field}` |"
        variable = f"`{environment_name(section, field)}`"
        assert any(row in line and variable in line for line in document.splitlines()), f"{section.table}.{field}"


def test_the_example_file_holds_every_setting_with_its_default() -> None:
    example = text("rxbridge.example.toml")
    tables = tomllib.loads(example)
    values, defaults = load(ROOT / "rxbridge.example.toml", {}, {}), load(Path("/dev/null"), {}, {})

    assert values.shown() == defaults.shown()
    for section in SECTIONS:
        for field in section.model_fields:
            written = field in tables[section.table] or re.search(rf"^# {field} = ", example, flags=re.MULTILINE)
            assert written, f"{section.table}.{field} is not in rxbridge.example.toml"


@pytest.mark.usefixtures("patient_bridges")
def test_the_examples_of_the_readme_run(
    wait_for: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_code, in_a_notebook = re.findall(r"^```python\n(.*?)^```", text("README.md"), flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)  # its journal is to be there
    printed: list[Any] = []
    with Simulator(rate=200) as simulator:
        namespace: dict[str, Any] = {"print": printed.append}
        local = in_code.replace('"ETH-USD"])', f'"ETH-USD"], url="{simulator.url}")')
        assert local != in_code
        exec(local, namespace)  # noqa: S102 it is the README's own text
        wait_for(lambda: len(printed) >= 2)
        namespace["connection"].stop()
    assert all(trades > 0 and volume > 0 for trades, volume in printed)

    exec(in_a_notebook, namespace)  # noqa: S102 likewise
    statistics = printed[-1]
    assert statistics.delivery.delivered > 0
    assert (statistics.delivery.dead, statistics.waiting_frames) == (0, 0)


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
