"""The examples of the pages about use in code run as they stand."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs all Python of a page, in order, in one namespace that has what is given, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, **given: Any) -> dict[str, Any]:
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        # A class that is defined in it is one of a module.
        namespace: dict[str, Any] = {"__name__": "page", **given}
        for number, example in enumerate(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)):
            exec(compile(example, f"{name}, example {number}", "exec"), namespace)  # noqa: S102 it is the project's own
        return namespace

    return run


@pytest.mark.usefixtures("patient_bridges")
def test_the_page_about_code(run_page: Callable[..., dict[str, Any]]) -> None:
    found = run_page("in-code.md")

    assert len(found["newest"]) == 20
    assert len(found["found"]) == 100
    assert len(found["prices"]) == 5
    assert found["columns"]["product_id"] == ["BTC-USD"] * 5
    sent = found["sink"].statistics()
    assert sent.delivered == sent.received == found["connection"].statistics().handed_over
    assert found["delivered"] > 0
    assert found["bridge"].state == "stopped"


def test_the_page_about_sinks(run_page: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    found = run_page("write-a-sink.md", path=str(tmp_path / "trades.sqlite"))

    assert found["connection"].statistics().state == "completed"
    database = sqlite3.connect(tmp_path / "trades.sqlite")
    assert database.execute("SELECT count(*) FROM trades").fetchone() == (1000,)
    database.close()
