"""`rxbridge simulate --feed advanced`, in a process of its own."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websocket

WaitFor = Callable[..., None]


@pytest.fixture
def url_of(wait_for: WaitFor) -> Callable[[Any], str]:
    """Where a simulator is, once it says so."""

    def url_of(simulator: Any) -> str:
        wait_for(lambda: "\n" in simulator.stderr)
        return simulator.stderr.removeprefix("simulator: ").strip()

    return url_of


def ask(url: str, channel: str, *products: str) -> list[dict[str, Any]]:
    """All that comes up to the acknowledgement."""
    client = websocket.create_connection(url, timeout=20)
    client.send(json.dumps({"type": "subscribe", "channel": channel, "product_ids": products}))
    frames = [json.loads(client.recv())]
    while frames[-1].get("channel") != "subscriptions":
        frames.append(json.loads(client.recv()))
    client.shutdown()
    return frames


def test_the_command_speaks_advanced_trade_and_counts_its_faults(
    command: Callable[..., Any], url_of: Callable[[Any], str], tmp_path: Path
) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "drop"\ntimes = 1\n')
    simulator = command("simulate", "--feed", "advanced", "--port", "0", "--faults", faults, "--history", "5")
    url = url_of(simulator)

    # Of the two snapshots, the first is lost.
    frames = ask(url, "market_trades", "BTC-USD", "ETH-USD")

    assert [(frame["channel"], frame["sequence_num"]) for frame in frames] == [
        ("market_trades", 1),
        ("subscriptions", 2),
    ]
    assert len(frames[0]["events"][0]["trades"]) >= 6
    simulator.send(signal.SIGTERM)
    assert simulator.wait() == 0
    assert re.search(r"^faults fired: drop=1$", simulator.stderr, re.MULTILINE)


def test_a_recording_says_itself_whose_it_is(
    command: Callable[..., Any], url_of: Callable[[Any], str], tmp_path: Path
) -> None:
    recording = tmp_path / "advanced.jsonl"
    frame = {
        "channel": "ticker",
        "sequence_num": 9,
        "events": [{"type": "snapshot", "tickers": [{"product_id": "A-B"}]}],
    }
    recording.write_text(json.dumps({"ts": 1_700_000_000.5, "data": json.dumps(frame)}) + "\n")
    simulator = command("simulate", "--port", "0", "--recording", recording)
    url = url_of(simulator)

    assert ask(url, "ticker", "A-B")[0] == frame | {"sequence_num": 0}
