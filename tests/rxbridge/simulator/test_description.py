"""What the simulator says of itself is what it does."""

import subprocess
import sys

import pytest

from rxbridge.errors import ConfigError
from rxbridge.faults import KINDS
from rxbridge.simulator import describe, live, rest
from rxbridge.simulator.advanced.channels import CHANNELS as ADVANCED_CHANNELS
from rxbridge.simulator.advanced.protocol import HEARTBEATS
from rxbridge.simulator.description import ADVANCED, EXCHANGE, KEYED, Section

SIMULATE = [sys.executable, "-m", "rxbridge", "simulate"]


def section(title: str, *products: str) -> Section:
    (found,) = [one for one in describe(products or ("BTC-USD",)) if one.title.startswith(title)]
    return found


def test_every_channel_is_described() -> None:
    assert EXCHANGE.keys() == live.CHANNELS.keys()
    assert ADVANCED.keys() == {*ADVANCED_CHANNELS, HEARTBEATS[0]}
    rows = section("Channels of the Exchange feed").rows
    assert ("level2_batch", "level2_50", EXCHANGE["level2_batch"]) in rows
    assert ("level3", "", "refused: it needs a key") in rows
    assert KEYED.keys() == live.KEYED_CHANNELS.keys()
    assert ("full", "full", f"with --api-key: {KEYED['full']}") in rows


def test_every_route_and_fault_is_described() -> None:
    assert [row[0] for row in section("REST").rows] == list(rest.ROUTES)
    faults = {row[0]: row[2] for row in section("Faults").rows}
    assert faults == {name: ", ".join(kind.parameters) for name, kind in KINDS["feed"].items()}
    assert faults["clock"] == "type, product, offset_seconds"


def test_products_are_counted_by_kind() -> None:
    rows = {row[0]: row for row in section("Products", "BTC-USD", "397", "OLD-USD:delisted", "1:quiet").rows}
    assert {kind: row[1] for kind, row in rows.items()} == {"lively": "398", "quiet": "1", "delisted": "1"}
    assert rows["lively"][3].startswith("BTC-USD, ")
    assert rows["lively"][3].endswith(" ...")
    assert rows["delisted"][3] == "OLD-USD"


def test_products_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="products"):
        describe(["BTC-USD:dead"])


def test_the_command_describes_and_ends() -> None:
    command = [*SIMULATE, "--describe", "--products", "BTC-USD,OLD-USD:delisted"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert "delisted\t1\tin REST alone; a subscribe that names one is refused, all of it\tOLD-USD" in lines
    assert any(line.startswith("level2_batch\tlevel2_50\t") for line in lines)
    assert any(line.startswith("/products/{id}/candles\t") for line in lines)
    assert any(line.startswith("rest_429\t") for line in lines)
    assert not answer.stderr
