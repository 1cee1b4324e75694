"""`rxbridge record`, in a process of its own, against the simulator."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rxbridge.coinbase.decoding import decode
from rxbridge.messages import Frame, Trade
from rxbridge.recording import marks
from rxbridge.recording.files import files_of
from rxbridge.recording.reader import read_frames
from rxbridge.simulator import Simulator
from tests.ports import free_port


def recorded(path: Path) -> list[Frame]:
    return list(read_frames(files_of(path))) if path.exists() or list(path.parent.glob("day-*")) else []


def require_whole(frames: list[Frame]) -> None:
    """One connection from its first frame on, and every trade that it brought."""
    assert len({frame.connection for frame in frames}) == 1
    assert [frame.index for frame in frames] == list(range(len(frames)))
    trades = [int(m.trade_id or 0) for frame in frames for m in decode(frame) if type(m) is Trade]
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    assert len(trades) > 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_recording_well(
    number: signal.Signals, command: Callable[..., Any], tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    path = tmp_path / "day.jsonl.zst"
    with Simulator(products=("BTC-USD",), rate=200) as simulator:
        running = command("record", path, "--products", "BTC-USD", "--feed-url", simulator.url)
        wait_for(lambda: len(recorded(path)) > 200)
        running.send(number)
        assert running.wait() == 0
    frames = recorded(path)
    require_whole(frames)
    assert "cut off" not in running.stderr
    assert f"{len(frames):,} frames" in running.stderr
    assert [mark.kind for mark in marks(path)] == ["connect"]


@pytest.mark.parametrize("name", ["day.jsonl", "day.jsonl.zst"])
def test_what_was_flushed_survives_kill_9(
    name: str, command: Callable[..., Any], tmp_path: Path, wait_for: Callable[..., None], log: list[str]
) -> None:
    path = tmp_path / name
    with Simulator(products=("BTC-USD",), rate=200) as simulator:
        running = command("record", path, "--products", "BTC-USD", "--feed-url", simulator.url)
        wait_for(lambda: len(recorded(path)) > 300)
        before = recorded(path)
        running.send(signal.SIGKILL)
        running.wait()
    frames = recorded(path)
    assert frames[: len(before)] == before
    require_whole(frames)


def test_a_recording_is_rotated_and_goes_on_after_a_restart(
    command: Callable[..., Any], tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    path = tmp_path / "day.jsonl.zst"
    with Simulator(products=("BTC-USD",), rate=100) as simulator:
        arguments = ("--rotate-seconds", 1, "--products", "BTC-USD", "--feed-url", simulator.url)
        for run in range(1, 3):
            before = len(recorded(path))
            running = command("record", path, *arguments)
            wait_for(lambda files=2 * run: len(list(tmp_path.glob("day-*"))) >= files)
            wait_for(lambda frames=before + 100: len(recorded(path)) > frames)
            running.send(signal.SIGTERM)
            assert running.wait() == 0
    assert not path.exists()
    assert len(files_of(path)) >= 4
    frames = recorded(path)
    first, second = sorted({frame.connection for frame in frames})
    for connection in (first, second):
        require_whole([frame for frame in frames if frame.connection == connection])


def test_a_recording_ends_after_so_long(command: Callable[..., Any], tmp_path: Path) -> None:
    with Simulator(products=("BTC-USD",), rate=100) as simulator:
        arguments = ("--seconds", 1, "--products", "BTC-USD", "--feed-url", simulator.url)
        assert command("record", tmp_path / "day.jsonl", *arguments).wait() == 0


def test_a_recording_is_not_written_over(command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    path.write_text("mine")
    running = command("record", path, "--feed-url", "ws://127.0.0.1:9")
    assert running.wait() == 69
    assert "is there already" in running.stderr
    assert path.read_text() == "mine"


def test_a_disk_that_takes_no_more_ends_it_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"

    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
    limited += "runpy.run_module('rxbridge', run_name='__main__')"
    with Simulator(products=("BTC-USD",), rate=400) as simulator:
        ended = subprocess.run(
            [sys.executable, "-c", limited, "record", path, "--products", "BTC-USD", "--feed-url", simulator.url],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 69
    assert "day.jsonl: cannot be written: File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(recorded(path)) > 50


def test_a_start_that_fails_leaves_no_file_in_the_way_of_the_next(command: Callable[..., Any], tmp_path: Path) -> None:
    key = {f"RXBRIDGE_FEED_API_{name}": "no base64!" for name in ("KEY", "SECRET", "PASSPHRASE")}
    with Simulator(products=("BTC-USD",)) as simulator:
        arguments = ("record", tmp_path / "day.jsonl", "--products", "BTC-USD", "--feed-url", simulator.url)
        running = command(*arguments, "--channels", "full", **key)
        assert running.wait() == 78
    assert "feed.api_secret: is not base64" in running.stderr
    assert list(tmp_path.glob("day*")) == []


@pytest.mark.parametrize("options", [(), ("--rotate-seconds", 60)])
def test_a_stop_before_the_first_frame_leaves_no_file_in_the_way_of_the_next(
    command: Callable[..., Any], tmp_path: Path, wait_for: Callable[..., None], options: tuple[object, ...]
) -> None:
    nowhere = ("--feed-url", f"ws://127.0.0.1:{free_port()}", "--products", "BTC-USD")
    running = command("record", tmp_path / "day.jsonl.zst", *nowhere, *options)
    wait_for(lambda: bool(list(tmp_path.glob("day*"))))
    running.send(signal.SIGTERM)
    assert running.wait() == 0
    assert "No frame came, and no file is left" in running.stderr
    assert list(tmp_path.glob("day*")) == []


def test_a_failure_to_subscribe_ends_it(command: Callable[..., Any], tmp_path: Path) -> None:
    with Simulator(products=("BTC-USD",), rate=10) as simulator:
        running = command("record", tmp_path / "day.jsonl", "--products", "NO-SUCH", "--feed-url", simulator.url)
        assert running.wait() == 78
