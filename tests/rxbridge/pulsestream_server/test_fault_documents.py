"""What docs/embedded-pulsestream.md says of faults is so."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rxbridge.faults import KINDS, parse_faults

DOCUMENT = (Path(__file__).parents[3] / "docs" / "embedded-pulsestream.md").read_text(encoding="utf-8")
SECTION = DOCUMENT.partition("\n## Faults\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("kind", sorted(KINDS["sink"]))
def test_every_kind_and_parameter_is_documented(kind: str) -> None:
    (row,) = [line for line in SECTION.splitlines() if line.startswith(f"| `{kind}` |")]
    for parameter in KINDS["sink"][kind].parameters:
        assert f"`{parameter}`" in row


def test_no_kind_is_documented_that_there_is_not() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", SECTION, flags=re.MULTILINE)

    assert sorted(documented) == sorted(KINDS["sink"])


def test_the_example_of_a_file_is_one(faulty: Callable[..., Any]) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
    faults = parse_faults(example)
    pulsestream = faulty(*faults)
    pulsestream.client.check()

    assert list(pulsestream.server.faults_fired) == [fault.kind for fault in faults]
    line = "faults fired: " + " ".join(rf"{fault.kind}=\d+" for fault in faults)
    assert re.search(rf"^    {line}$", SECTION, flags=re.MULTILINE)


def test_the_example_in_code_runs(client: Any, new_event: Any) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
    printed: list[Any] = []

    def post(url: str) -> None:
        tenant = client(url, "only-for-this-test")
        assert [tenant.post_event(new_event()).status_code for _ in range(3)] == [500, 500, 200]

    working = example.replace("    ...\n", "    post(server.url)\n")
    assert working != example
    exec(working, {"print": printed.append, "post": post})  # noqa: S102 it is the document's own text

    told = re.findall(r"print\(server\.faults_fired\)  # (.*)$", example, flags=re.MULTILINE)
    assert [str(fired) for fired in printed] == told
