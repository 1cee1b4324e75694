"""The small commands, as a user meets them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rxbridge.cli.status import StatusLine, summary
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator
from rxbridge.telemetry.statistics import (
    BackfillStatistics,
    ConfirmationStatistics,
    DeliveryStatistics,
    FeedStatistics,
    Statistics,
)

Start = Callable[..., Any]


def checks(output: str) -> dict[str, str]:
    """Name of a check -> ok or FAIL."""
    return {line.split(":")[0][6:]: line[:4].strip() for line in output.splitlines()}


def test_check_is_content_when_everything_is_there(
    command: Start, pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> None:
    with Simulator() as simulator:
        check = command(
            *("check", "--feed-url", simulator.url, "--pulsestream-url", pulsestream.url),
            PULSESTREAM_API_KEY=pulsestream_key,
            RXBRIDGE_JOURNAL_MAX_BYTES="1MB",
        )
        assert check.wait() == 0, check.stdout

    assert set(checks(check.stdout).values()) == {"ok"}
    expected = ["configuration", "journal", "disk", "API key", "pipelines", "products", "feed", "PulseStream"]
    assert list(checks(check.stdout)) == expected
    assert pulsestream_key not in check.stdout + check.stderr


@pytest.mark.parametrize(
    ("products", "result", "words"),
    [
        ("BTC-USD,ETH-USD", "ok", "answers to a subscription of BTC-USD, ETH-USD"),
        ("BTC-USD,FOO-EUR", "FAIL", "refuses FOO-EUR"),
    ],
)
def test_check_waits_for_every_channel_of_advanced_trade(
    command: Start, products: str, result: str, words: str
) -> None:
    with Simulator(feed="advanced") as simulator:
        check = command(
            *("check", "--feed", "advanced", "--feed-url", simulator.url),
            *("--products", products, "--channels", "trades,candles,ticker"),
        )
        assert check.wait() == 78, "no key is given"

    assert checks(check.stdout)["feed"] == result
    assert words in check.stdout


def test_check_tells_of_a_feed_that_is_not_the_one_that_was_chosen(command: Start) -> None:
    with Simulator(feed="exchange") as simulator:
        check = command("check", "--feed", "advanced", "--feed-url", simulator.url, "--products", "BTC-USD")
        assert check.wait() == 78

    assert checks(check.stdout)["feed"] == "FAIL"


def test_check_says_what_is_wrong_and_what_to_do(command: Start, pulsestream: EmbeddedPulseStream) -> None:
    with Simulator() as simulator:
        feed = ("--feed-url", simulator.url, "--products", "NO-SUCH")
        check = command(
            *("check", *feed, "--pulsestream-url", pulsestream.url, "--journal", "absent/journal"),
            PULSESTREAM_API_KEY="wrong",
            RXBRIDGE_JOURNAL_MAX_BYTES="1MB",
        )
        assert check.wait() == 78

    assert checks(check.stdout) == {
        "configuration": "ok",
        "journal": "FAIL",
        "disk": "ok",
        "API key": "ok",
        "pipelines": "ok",
        "products": "FAIL",
        "feed": "FAIL",
        "PulseStream": "FAIL",
    }
    assert "mkdir -p" in check.stdout
    assert "NO-SUCH" in check.stdout
    assert "refused the API key" in check.stdout


def test_check_offline_asks_no_server(command: Start) -> None:
    check = command("check", "--offline", PULSESTREAM_API_KEY="any", RXBRIDGE_JOURNAL_MAX_BYTES="1MB")

    assert check.wait() == 0, check.stdout
    assert list(checks(check.stdout)) == ["configuration", "journal", "disk", "API key", "pipelines"]


def test_check_misses_the_key_and_the_room(command: Start) -> None:
    check = command("check", "--offline", RXBRIDGE_JOURNAL_MAX_BYTES="900TB")

    assert check.wait() == 78
    assert [name for name, result in checks(check.stdout).items() if result == "FAIL"] == ["disk", "API key"]
    assert "PULSESTREAM_API_KEY_FILE" in check.stdout


def test_check_names_an_unknown_setting(command: Start, tmp_path: Path) -> None:
    (tmp_path / "rxbridge.toml").write_text("[feed]\nproduct = 1\n", encoding="utf-8")

    check = command("check", "--offline")

    assert check.wait() == 78
    assert "did you mean 'products'?" in check.stdout


def test_config_shows_values_and_where_they_came_from(command: Start, tmp_path: Path) -> None:
    (tmp_path / "rxbridge.toml").write_text("[batch]\ncount = 7\n", encoding="utf-8")

    config = command("config", "--products", "A-B", PULSESTREAM_API_KEY="hush", RXBRIDGE_RUN_ROLE="feed")

    assert config.wait() == 0
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in config.stdout.splitlines()}
    assert lines["batch.count"] == "7 file [batch] count"
    assert lines["feed.products"] == "A-B argument --products"
    assert lines["run.role"] == "feed environment RXBRIDGE_RUN_ROLE"
    assert lines["pulsestream.key"] == "(hidden) environment PULSESTREAM_API_KEY"
    assert lines["feed.stall_seconds"] == "15.0 default"
    assert "hush" not in config.stdout + config.stderr


def test_the_demo_ends_with_an_exact_audit(command: Start) -> None:
    demo = command("demo", "--seconds", 2, "--rate", 100)

    assert demo.wait() == 0, demo.stderr
    last = demo.stdout.splitlines()[-1]
    assert last.startswith("audit ok: received=")
    counts = dict(pair.split("=") for pair in last.removeprefix("audit ok: ").split())
    assert int(counts["received"]) > 100
    assert counts["received"] == counts["delivered"] == counts["stored"]
    assert [counts[name] for name in ("dead", "dropped", "waiting", "duplicates", "missing")] == ["0"] * 5


def test_off_a_terminal_the_log_is_json(command: Start, tmp_path: Path) -> None:
    with Simulator() as simulator:
        run = command(
            *("run", "--feed-url", simulator.url, "--products", "NO-SUCH", "--dry-run", "--journal", tmp_path / "j")
        )
        assert run.wait() == 78

    *log, last = run.stderr.splitlines()
    assert all("message" in json.loads(line) for line in log)
    assert last.startswith("rxbridge: ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_status_line_stays_below_the_log() -> None:
    terminal = Terminal()
    status = StatusLine(terminal)

    status.show("3 frames")
    status.write("a line\n")
    status.show("")

    clear = "\r\x1b[2K"
    assert terminal.getvalue() == f"{clear}3 frames{clear}a line\n3 frames{clear}"


def test_off_a_terminal_there_is_no_status_line() -> None:
    stream = io.StringIO()
    status = StatusLine(stream)

    status.show("3 frames")
    status.write("a line\n")

    assert stream.getvalue() == "a line\n"


@pytest.mark.parametrize(
    ("delivery", "dropped", "oldest", "told"),
    [
        (DeliveryStatistics(received=5, delivered=4), 0, 0.2, "5 received · 4 delivered · 1 frames waiting"),
        (DeliveryStatistics(dead=2), 0, 61.0, "oldest 61 s · 2 dead"),
        (
            DeliveryStatistics(dropped=3),
            0,
            0.0,
            "oldest 0 s · 3 dropped · 5 backfilled · 7 gaps · backfill [####------] 40/100 · PulseStream too slow",
        ),
        (
            DeliveryStatistics(),
            1_000,
            0.0,
            "1,000 frames dropped by the full journal · 10 delivered frames let go by the",
        ),
    ],
)
def test_the_summary_says_what_matters(delivery: DeliveryStatistics, dropped: int, oldest: float, told: str) -> None:
    statistics = Statistics(
        feed=FeedStatistics(),
        backfill=BackfillStatistics(fetched=5, missing=60, done=40, total=100),
        delivery=delivery,
        confirmation=ConfirmationStatistics(),
        journal_bytes=0,
        arrived_frames=1,
        waiting_frames=1,
        dropped_frames=dropped,
        let_go_frames=dropped // 100,
        oldest_waiting_seconds=oldest,
        market_gaps=7,
        overloaded=True,
    )

    assert told in summary(statistics)
