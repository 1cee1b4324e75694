"""A user's module in the real command, over loopback: killed, drained and audited like the built-in pipeline."""

import json
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.journal import SqliteJournal
from rxbridge.progress import CONSUMER, STATE_CONSUMER
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.recording import read
from rxbridge.simulator import Simulator
from tests.rxbridge.custom_pipelines import candle_pipeline
from tests.rxbridge.custom_pipelines.support import START, trade
from tests.rxbridge.played import is_delivered, last_frame, times_arrived

KEY = "a-key-that-must-not-leak"
PRODUCTS = ("BTC-USD", "ETH-USD")
TRADES = 400
REAL_SECONDS = 5.0
PIPELINE = "my_candles:pipeline"
Start: TypeAlias = Callable[..., Any]


def seconds_of(number: int) -> float:
    """When a trade of the recording happened: four in a second, of both products in turn."""
    return number / 4


class Stage:
    """The simulator's recording, a bridge with the user's module in its working directory, and PulseStream."""

    def __init__(self, command: Start, server: EmbeddedPulseStream, folder: Path) -> None:
        self.command = command
        self.folder = folder
        self.journal = folder / "journal"
        self._server = server
        shutil.copy(candle_pipeline.__file__, folder / "my_candles.py")

    def simulator(self) -> Simulator:
        path = self.folder / "trades.jsonl"
        with path.open("w", encoding="utf-8") as lines:
            for number in range(TRADES):
                data = trade(1000 + number // 2, seconds_of(number), PRODUCTS[number % 2], "0.25").decode()
                lines.write(json.dumps({"ts": START + REAL_SECONDS * number / TRADES, "data": data}) + "\n")
        return Simulator(recording=partial(read, path), speed=1)

    def reach(self) -> list[object]:
        return ["--pulsestream-url", self._server.url, "--journal", self.journal, "--channels", "matches"]

    def run(self, simulator: Simulator, *more: object, pipeline: str = PIPELINE, **environment: str) -> Any:
        feed = ["--feed-url", simulator.url, "--products", ",".join(PRODUCTS), "--pipeline", pipeline]
        return self.command("run", *feed, *self.reach(), *more, PULSESTREAM_API_KEY=KEY, **environment)

    def run_to_the_end(self, simulator: Simulator, wait_for: Start, **options: str) -> Any:
        """One that has ended when the whole recording was played to it, and delivered."""
        last = last_frame(self.folder / "trades.jsonl")
        before = times_arrived(self.journal, last)
        run = self.run(simulator, **options)
        wait_for(lambda: is_delivered(self.journal, last, times=before + 1), 60)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr
        return run

    def verify(self, pipeline: str, expected_code: int = 0) -> dict[str, Any]:
        done = self.command("verify", "--json", *self.reach(), "--pipeline", pipeline, PULSESTREAM_API_KEY=KEY)
        assert done.wait() == expected_code, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def candles(self) -> list[dict[str, Any]]:
        """What PulseStream has stored of them, in the order of their ids; each is there once."""
        query = "SELECT external_id, payload FROM events WHERE external_id LIKE 'candle-%' ORDER BY external_id"
        with closing(sqlite3.connect(f"file:{self.folder / 'stored.sqlite'}?mode=ro", uri=True)) as connection:
            rows = connection.execute(query).fetchall()
        assert set(Counter(key for key, _ in rows).values()) <= {1}, "something is stored twice"
        return [json.loads(body)["custom_data"] for _, body in rows]

    def cursors(self) -> tuple[int, int, int]:
        """What is there, what of it is delivered, and what of that is let go of."""
        with closing(SqliteJournal(self.journal, role="read")) as journal:
            return journal.size().last_offset, journal.cursor(CONSUMER), journal.cursor(STATE_CONSUMER)


def expected_candles() -> list[dict[str, Any]]:
    """By a loop over the recording; the last one of each product stays open."""
    trades: dict[tuple[str, int], list[str]] = {}
    for number in range(TRADES):
        start = int(START + seconds_of(number)) // candle_pipeline.SECONDS * candle_pipeline.SECONDS
        trades.setdefault((PRODUCTS[number % 2], start), []).append(str(1000 + number // 2))
    newest = {product: max(start for other, start in trades if other == product) for product in PRODUCTS}
    return [
        {"product": product, "start": start, "trades": ids, "volume": str(len(ids) * Decimal("0.25"))}
        for (product, start), ids in sorted(trades.items())
        if start != newest[product]
    ]


@pytest.fixture
def stage(command: Start, tmp_path: Path) -> Iterator[Stage]:
    with EmbeddedPulseStream(database=str(tmp_path / "stored.sqlite"), api_key=KEY, rate_limit=0) as server:
        yield Stage(command, server, tmp_path)


def assert_exact(audit: dict[str, Any], events: int) -> None:
    counts = {name: audit[name] for name in ("received", "delivered", "stored")}
    assert counts == dict.fromkeys(counts, events)
    faults = ("dead", "dropped", "waiting", "duplicates", "missing", "unreadable", "trade_holes", "open_trades")
    assert not any(audit[name] for name in faults), audit


@pytest.mark.parametrize("pipeline", [PIPELINE, "my_candles:library"])
def test_kill_9_in_mid_candle_and_a_drain_change_no_candle(stage: Stage, wait_for: Start, pipeline: str) -> None:
    all_confirmed = {"RXBRIDGE_DELIVERY_CONFIRM": "all"}
    with stage.simulator() as simulator:
        for wanted in (10, 30):
            run = stage.run(simulator, pipeline=pipeline, **all_confirmed)
            wait_for(lambda wanted=wanted: len(stage.candles()) >= wanted)
            run.send(signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL
            there, delivered, released = stage.cursors()
            assert released < delivered <= there, "a candle was open, and holds its frames"
        run = stage.run(simulator, pipeline=pipeline, **all_confirmed)
        wait_for(lambda: len(stage.candles()) >= 60)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr
        there, delivered, released = stage.cursors()
        assert released < delivered == there, "what is open is not made, and not let go of"
        drained = stage.verify(pipeline)
        assert_exact(drained, drained["received"])

        run = stage.run_to_the_end(simulator, wait_for, pipeline=pipeline, **all_confirmed)
        assert f"made by {pipeline}" in run.stderr

    expected = expected_candles()
    if pipeline != PIPELINE:
        # The package's candles count their trades, and do not name them.
        expected = [{**candle, "trades": len(candle["trades"])} for candle in expected]
    assert stage.candles() == expected
    assert_exact(stage.verify(pipeline), len(expected))


def test_a_pipeline_beside_the_built_in_one_is_confirmed_and_audited_with_it(stage: Stage, wait_for: Start) -> None:
    both = f"builtin,{PIPELINE}"
    with stage.simulator() as simulator:
        stage.run_to_the_end(simulator, wait_for, pipeline=both)
        # What is delivered is proven before it ends, however long that takes: nothing comes any more.
        rest = stage.run(simulator, "--role", "deliver", "--exit-when-idle", 0.5, pipeline=both)
        assert rest.wait() == 0, rest.stderr

    audit = stage.verify(both)
    assert stage.candles() == expected_candles()
    assert_exact(audit, len(expected_candles()) + TRADES)
    assert f"delivered by {PIPELINE}, not given here" in stage.verify("builtin", 78)["error"]


def test_what_pulsestream_loses_of_a_pipeline_is_sent_again(stage: Stage, wait_for: Start) -> None:
    with stage.simulator() as simulator:
        stage.run_to_the_end(simulator, wait_for)
    with closing(sqlite3.connect(stage.folder / "stored.sqlite")) as connection, connection:
        connection.execute("DELETE FROM events WHERE external_id LIKE 'candle-ETH-USD-%'")
    lost = len(expected_candles()) // 2

    assert stage.verify(PIPELINE, 1)["missing"] == lost
    repaired = stage.command(
        *("verify", "--json", "--repair", *stage.reach(), "--pipeline", PIPELINE), PULSESTREAM_API_KEY=KEY
    )
    assert repaired.wait() == 0, repaired.stderr

    assert json.loads(repaired.stdout)["repaired"] == lost
    assert stage.candles() == expected_candles()


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("my_candels:pipeline", "there is no module 'my_candels'"),
        ("my_candles:pipelines", "has no function 'pipelines'; did you mean 'pipeline'?"),
        ("my_candles.py:not_a_stream", "gives no Observable, but int"),
    ],
)
def test_a_bad_one_ends_the_start_before_anything_is_connected(stage: Stage, pipeline: str, words: str) -> None:
    with Simulator() as simulator:
        run = stage.run(simulator, pipeline=pipeline)

        assert run.wait() == 78
        assert f"rxbridge: run.pipeline: '{pipeline}'" in run.stderr
        assert words in run.stderr
        assert not simulator.statistics.connections
    assert not stage.journal.exists()


def test_one_that_only_fails_ends_the_process_with_its_name(stage: Stage) -> None:
    (stage.folder / "broken.py").write_text(
        "from reactivex import operators as ops\n"
        "def pipeline(frames):\n"
        "    return frames.pipe(ops.map(lambda frame: frame.no_such_attribute))\n",
        encoding="utf-8",
    )
    (stage.folder / "sitecustomize.py").write_text(
        "import rxbridge.custom_pipelines.withholding as withholding\nwithholding.MOST_FAILURES = 2\n", encoding="utf-8"
    )
    with Simulator(rate=50) as simulator:
        run = stage.run(simulator, pipeline="broken.py", PYTHONPATH=str(stage.folder))

        assert run.wait() == 70, run.stderr
    assert "rxbridge: the pipeline broken:pipeline failed 2 times in a row" in run.stderr
    assert "no_such_attribute" in run.stderr


FAILS_NOW_AND_THEN = """
from operators import only, parse
from reactivex import operators as ops
from rxbridge.coinbase.decoding import decode
from rxbridge.events import dead_letter, event
from rxbridge.messages import Trade

def said(trade):
    if (trade.product_id, trade.trade_id) == ("BTC-USD", 1007):
        raise ValueError(f"I dislike {trade.trade_id}")
    return event("Said", {"id": trade.trade_id}, event_id=f"said-{trade.product_id}-{trade.trade_id}")

def pipeline(frames):
    return frames.pipe(parse(decode, dead_letter), only(Trade), ops.map(said))
"""


def test_a_frame_at_which_a_pipeline_fails_is_a_dead_letter_and_all_others_are_delivered(
    stage: Stage, wait_for: Start
) -> None:
    (stage.folder / "moody.py").write_text(FAILS_NOW_AND_THEN, encoding="utf-8")
    with stage.simulator() as simulator:
        stage.run_to_the_end(simulator, wait_for, pipeline="moody:pipeline")

    letters = stage.command("dead-letters", "list", "--journal", stage.journal)
    assert letters.wait() == 0, letters.stderr
    assert letters.stdout.count("ValueError: I dislike") == 1
    audit = stage.verify("moody:pipeline")
    assert (audit["received"], audit["delivered"], audit["stored"]) == (TRADES, TRADES - 1, TRADES - 1)
    assert audit["dead"] == 1
    assert (audit["missing"], audit["duplicates"], audit["waiting"]) == (0, 0, 0)
