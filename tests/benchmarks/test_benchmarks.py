"""The whole benchmark with a few frames: it runs, and nothing is lost. What it measures then means nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import operators
from benchmarks.frames import payload, websocket_frames, websocket_snapshots
from benchmarks.runs import percentile
from benchmarks.sink import event_ids
from rxbridge.coinbase.decoding import decode
from rxbridge.messages import BookSnapshot, Frame


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    output = tmp_path_factory.mktemp("benchmarks") / "results.json"
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--output", str(output)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, json.loads(output.read_text())


def test_every_run_delivers_each_event_once(quick):
    _, found = quick
    assert {run["contender"] for run in found["runs"]} == set(found["contenders"]) == set("abcd")
    for run in found["runs"]:
        assert (run["delivered"], run["repeated"]) == (run["sent"], 0), run


def test_latency_is_measured_wherever_there_is_a_schedule(quick):
    _, found = quick
    for run in found["runs"]:
        if run["rate"]:
            assert 0 < run["latency_p50"] <= run["latency_p99"]
        else:
            assert run["latency_p50"] is None


def test_what_a_run_costs_is_measured(quick):
    _, found = quick
    for run in found["runs"]:
        assert run["events_per_second"] > 0
        assert run["cpu_microseconds"] > 0
        assert run["peak_rss_bytes"] >= run["idle_rss_bytes"] > 1_000_000


def test_what_large_books_cost_the_trades_is_measured_side_by_side(quick):
    printed, found = quick
    without, along = (found["book_delay"][side] for side in ("without", "along"))
    for p50, p99, longest, rss in (without, along):
        assert 0 < p50 <= p99 <= longest
        assert rss > 1
    assert "(d) with snapshots of 5 MB" in printed


def test_a_snapshot_is_a_large_book_that_rxbridge_reads():
    (framed,) = websocket_snapshots(1)
    data = framed[10:]
    assert int.from_bytes(framed[2:10]) == len(data)
    assert 4_500_000 < len(data) < 6_000_000
    (message,) = decode(Frame(data, 1, 1, 0))
    assert isinstance(message, BookSnapshot)
    assert len(message.bids) + len(message.asks) == 46_000


def test_the_file_says_on_what_machine_and_when(quick):
    _, found = quick
    assert set(found["machine"]) == {"processor", "cores", "memory", "system", "python", "libraries"}
    assert found["date"]
    assert found["quick"] is True


def test_the_table_has_a_row_for_each_contender_and_each_aim(quick):
    printed, found = quick
    lines = printed.splitlines()
    for letter, name in found["contenders"].items():
        assert any(line.startswith(f"({letter}) {name}") for line in lines)
    for aim in found["aims"]:
        (line,) = (line for line in lines if line.startswith(aim["text"]))
        assert line.endswith("met" if aim["met"] else "missed")
    assert "Nothing was lost in any run." in lines


def test_every_operator_has_a_line_beside_its_plain_loop(quick):
    _, found = quick
    measured = {cost["name"].partition(",")[0] for cost in found["operators"] if cost["plain_loop"]}
    assert measured >= {name for name in operators.__all__ if name.islower()}


def test_the_operators_above_three_times_their_plain_loop_are_listed(quick):
    printed, found = quick
    (line,) = (line for line in printed.splitlines() if line.startswith("Above 3 times the plain loop: "))
    times = {
        cost["name"]: cost["microseconds"] / cost["plain_loop"] for cost in found["operators"] if cost["plain_loop"]
    }
    above = [f"{name} {ratio:.1f}" for name, ratio in times.items() if ratio > 3]
    assert line.partition(": ")[2] == (", ".join(above) or "none")
    (aim,) = (aim for aim in found["aims"] if "plain loop" in aim["text"])
    assert aim["figure"] == max(times.values())
    assert aim["met"] == (not above)


def test_frames_are_tickers_of_one_length_with_rising_trade_ids():
    tickers = [json.loads(payload(index, b"2026-01-01T00:00:00")) for index in (0, 1, 99_999)]
    assert [ticker["trade_id"] - tickers[0]["trade_id"] for ticker in tickers] == [0, 1, 99_999]
    assert len(set(map(len, websocket_frames(1_000)))) == 1


def test_event_ids_are_found_with_and_without_spaces():
    events = [{"event_id": "coinbase-A-1", "context": {"request_id": "x"}}, {"event_id": "coinbase-A-2"}]
    for separators in ((", ", ": "), (",", ":")):
        body = json.dumps({"events": events}, separators=separators).encode()
        assert event_ids(body) == [b"coinbase-A-1", b"coinbase-A-2"]


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles_are_of_the_nearest_rank(part, expected):
    assert percentile(list(range(1, 101)), part) == expected


def test_there_is_no_percentile_of_nothing():
    assert percentile([], 0.5) is None
