"""Real processes, and a small recording of the project's own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from loguru import logger

SHORTEST_KEY = 8
"""Characters of a key that is looked for in what was printed; a shorter one, such as `wrong`, may be a word there."""

PRODUCTS = ("BTC-USD", "ETH-USD")

HASTE = {
    "RXBRIDGE_DELIVERY_CONFIRM_AFTER_SECONDS": "0.5",
    "PULSESTREAM_API_WAIT_AFTER_TIMEOUT_SECONDS": "2",
}
"""The servers of the tests answer and commit at once: there is no use in waiting for them as for a real one."""


def write_recording(path: Path, trades: int, seconds: float) -> Path:
    """Trades of two products, each with its ticker, spread evenly over the time."""
    start = 1_700_000_000.0
    with path.open("w", encoding="utf-8") as lines:
        for number in range(trades):
            product = PRODUCTS[number % 2]
            trade = 1_000 + number // 2
            moment = f"2023-11-14T22:13:{20 + number % 40:02d}.{number:06d}Z"
            match = {
                "type": "last_match" if number < len(PRODUCTS) else "match",
                "trade_id": trade,
                "maker_order_id": "5f4bb11b-f065-4025-ad53-2091b10ad2cf",
                "taker_order_id": "66715b57-0167-4ae9-8b2b-75a064a923f4",
                "side": "sell",
                "size": "0.01",
                "price": f"{100 + number}.5",
                "product_id": product,
                "sequence": 5_000 + number,
                "time": moment,
            }
            ticker = {
                "type": "ticker",
                "sequence": 5_000 + number,
                "product_id": product,
                "price": f"{100 + number}.5",
                "open_24h": "99.1",
                "volume_24h": "1234.5",
                "low_24h": "90",
                "high_24h": "120.25",
                "volume_30d": "99999.9",
                "best_bid": f"{100 + number}.49",
                "best_ask": f"{100 + number}.51",
                "side": "buy",
                "time": moment,
                "trade_id": trade,
                "last_size": "0.01",
            }
            for frame in (match, ticker):
                data = json.dumps(frame, separators=(",", ":"))
                lines.write(json.dumps({"ts": start + seconds * number / trades, "data": data}) + "\n")
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    def write(trades: int = 100, seconds: float = 1.0) -> Path:
        return write_recording(tmp_path / "recording.jsonl", trades, seconds)

    return write


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Lines as `LEVEL message`."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message).rstrip("\n")), format="{level} {message}", level=0)
    yield lines
    logger.remove(sink)


class Command:
    """`rxbridge` in a process of its own, in an environment of its own, its output in files."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self._key = environment.get("PULSESTREAM_API_KEY", "")
        self._folder = folder
        number = len(list(folder.glob("*.stdout")))
        self._stdout, self._stderr = folder / f"{number}.stdout", folder / f"{number}.stderr"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RXBRIDGE_", "PULSESTREAM_"))}
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rxbridge", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=kept | HASTE | environment,
            )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(encoding="utf-8")

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that the process is to handle, when it does: before that it ends any process."""
        if number in (signal.SIGTERM, signal.SIGHUP):
            give_up = time.monotonic() + 30
            while self.process.poll() is None and not self._handles(number):
                assert time.monotonic() < give_up, f"no handler for {number.name}; it said:\n{self.stderr}"
                time.sleep(0.01)
        self.process.send_signal(number)

    def _handles(self, number: signal.Signals) -> bool:
        # A mask of what is caught, see proc(5); the lowest bit is of signal 1.
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> number - 1 & 1)

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s; it said:\n{self.stderr}")

    def require_silence(self) -> None:
        """Fail if the key was told, or written down, or passed on where every user of the machine can read it."""
        if len(self._key) < SHORTEST_KEY:
            return
        journals = [path for path in self._folder.rglob("*journal*") if path.is_file()]
        for path in (self._stdout, self._stderr, *journals):
            assert self._key.lower().encode() not in path.read_bytes().lower(), f"the key is in {path.name}"
        assert self._key not in " ".join(map(str, cast("list[str]", self.process.args)))


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts `rxbridge` with arguments; keywords are environment variables. What still runs is ended afterwards."""
    started: list[Command] = []

    def start(*arguments: object, **environment: str) -> Command:
        started.append(Command(tmp_path, tuple(map(str, arguments)), environment))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
    # Of whatever the suite runs, nothing tells the key.
    for ended in started:
        ended.require_silence()
