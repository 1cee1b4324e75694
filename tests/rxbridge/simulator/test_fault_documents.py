"""Schedules as a user meets them: the command, and the document."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websocket

from rxbridge.faults import KINDS, parse_faults
from rxbridge.faults.fault import TIMING
from rxbridge.simulator import Simulator

DOCUMENT = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")
SECTION = DOCUMENT.partition("\n## Faults\n")[2].partition("\n## ")[0]
SERVE = [sys.executable, "-m", "rxbridge", "simulate", "--port", "0", "--products", "BTC-USD"]


@pytest.mark.parametrize("kind", sorted(KINDS["feed"]))
def test_every_kind_and_parameter_is_documented(kind: str) -> None:
    (row,) = [line for line in SECTION.splitlines() if line.startswith(f"| `{kind}` |")]
    common = {"type", "product"} if {"type", "product"} <= set(KINDS["feed"][kind].parameters) else set[str]()
    for parameter in set(KINDS["feed"][kind].parameters) - common:
        assert f"`{parameter}`" in row


def test_what_every_kind_can_be_told_is_documented() -> None:
    for name in ("kind", *TIMING):
        assert f"| `{name}` |" in SECTION


def test_no_kind_is_documented_that_there_is_not() -> None:
    tables = SECTION.partition("What happens to single frames")[2]
    documented = re.findall(r"^\| `(\w+)` \|", tables, flags=re.MULTILINE)
    assert sorted(documented) == sorted(KINDS["feed"])


def test_the_example_runs(simulate: Callable[..., Simulator], connect: Callable[..., Any]) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)
    faults = parse_faults(example)
    simulator = simulate(rate=1000, faults=faults)
    client = connect(simulator)
    client.subscribe("matches", products=["BTC-USD"])
    client.receive_until(lambda _: simulator.statistics.faults["drop"] > 0)
    assert list(simulator.statistics.faults) == [fault.kind for fault in faults]


def test_the_command_says_at_its_end_what_happened(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nkind = "drop"\n[[fault]]\nkind = "close"\nat = 3600\n[[fault]]\nkind = "lose"\n')
    with subprocess.Popen([*SERVE, "--faults", str(path)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            url = process.stderr.readline().strip().removeprefix("simulator: ")
            client = websocket.create_connection(url, timeout=20)
            client.send('{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches","heartbeat"]}')
            assert '"type":"subscriptions"' in str(client.recv())
            client.shutdown()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
            (line,) = process.stderr.read().splitlines()
        finally:
            process.kill()
    assert re.fullmatch(r"faults fired: drop=[1-9]\d* close=0", line)


def test_the_command_says_nothing_of_faults_without_a_file() -> None:
    with subprocess.Popen([*SERVE, "--history", "50"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline().startswith("simulator: ws://127.0.0.1:")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_a_file_that_is_wrong_ends_the_command_at_once(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nkind = "dorp"\n')
    result = subprocess.run([*SERVE, "--faults", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 78
    assert result.stderr == f"rxbridge: {path}: fault 1: kind: unknown fault 'dorp'; did you mean 'drop'?\n"
