"""A short selection of the chaos suite, and that the suite itself would notice."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.auditing import audit
from tests.chaos.kinds import FEEDS, KINDS
from tests.chaos.processes import ChaosError, wait_until
from tests.chaos.run import Result, describe, is_settled, known_kinds, unseen_books
from tests.chaos.schedule import draw, for_server, planned
from tests.chaos.stage import Stage
from tests.chaos.suite import run_all, summary

SELECTION = {
    101: "kill",
    158: "drop,close,garbage",
    103: "terminate,disk_full,duplicate",
}
"""Seeds, and the kinds that each draws from: those whose consequences are over soon.

The second is one of Advanced Trade, the third has books, and so has the second.
"""


@pytest.mark.timeout(240)
def test_a_short_selection_loses_nothing(tmp_path: Path) -> None:
    def run_one(seed: int) -> Result:
        (result,) = run_all(
            [seed], tmp_path, seconds=2.0, faults=SELECTION[seed], jobs=1, keep=False, done=lambda _: None
        )
        return result

    # They mostly wait.
    with ThreadPoolExecutor(len(SELECTION)) as pool:
        results = list(pool.map(run_one, SELECTION))

    assert all(result.ok for result in results), "\n".join(line for result in results for line in describe(result))
    assert all(sum(result.fired.values()) for result in results)


def test_a_seed_always_draws_the_same() -> None:
    assert [draw(seed) for seed in range(50)] == [draw(seed) for seed in range(50)]
    assert len({str(draw(seed)) for seed in range(50)}) == 50


def test_every_kind_is_drawn_and_is_what_the_servers_take() -> None:
    drawn: Counter[str] = Counter()
    for seed in range(400):
        schedule = draw(seed)
        drawn.update(fault.kind for fault in schedule.faults)
        assert all(fault.end <= schedule.seconds + 2 for fault in schedule.faults)
        for side in ("feed", "sink"):
            # Making one checks it: a kind or parameter that a server does not know is a ConfigError.
            assert len(for_server(schedule.of(side), feed=schedule.feed)) == len(schedule.of(side))

    assert set(KINDS) == set(drawn)


def test_both_feeds_are_drawn_with_books_and_without() -> None:
    schedules = [draw(seed) for seed in range(400)]
    drawn = Counter((schedule.feed, schedule.books) for schedule in schedules)

    assert 0.25 < sum(drawn["advanced", books] for books in (True, False)) / 400 < 0.42
    assert 0.4 < sum(drawn[feed, True] for feed in FEEDS) / 400 < 0.6
    assert all(drawn[feed, books] for feed in FEEDS for books in (True, False))
    assert all(schedule.feed in KINDS[kind].feeds for schedule in schedules for kind in schedule.kinds)


def test_a_seed_draws_the_same_faults_on_either_feed_but_for_those_that_do_not_happen_there() -> None:
    for seed in range(200):
        exchange, advanced = (draw(seed, feed=feed) for feed in FEEDS)
        here, there = ([(fault.kind, fault.at, fault.seconds) for fault in one.faults] for one in (exchange, advanced))

        assert set(there) <= set(here)
        assert here == there or not exchange.kinds.isdisjoint({"level3", "last_trade_id_zero"})
        assert (exchange.rate, exchange.books) == (advanced.rate, advanced.books)


def test_a_kind_that_happens_on_one_feed_only_chooses_the_feed() -> None:
    assert {draw(seed, kinds=["level3"]).feed for seed in range(30)} == {"exchange"}
    assert {draw(seed, kinds=["level3", "kill"], feed="advanced").kinds for seed in range(30)} == {frozenset({"kill"})}


def test_what_makes_a_server_lie_is_confirmed() -> None:
    for seed in range(200):
        schedule = draw(seed)
        assert schedule.confirm or not schedule.kinds & {"lose", "sink_kill"}


def test_a_misspelt_kind_is_refused() -> None:
    with pytest.raises(ChaosError, match="there is no fault 'kil'"):
        known_kinds("kil")


@pytest.fixture
def finished(tmp_path: Path) -> Iterator[Stage]:
    """A run of a second in which nothing went wrong, of Advanced Trade with books; PulseStream still answers."""
    with Stage(planned(7, [], seconds=1.0, rate=40.0, feed="advanced", books=True), tmp_path) as stage:
        assert stage.bridge is not None
        stage.bridge.wait_for("Subscription confirmed")
        assert wait_until(lambda: sum(len(stage.simulator.trades(name)) for name in ("BTC-USD", "ETH-USD")) > 30, 30)
        stage.simulator.pause()
        assert wait_until(lambda: is_settled(stage) and not unseen_books(stage), 30, every_seconds=0.2)
        stage.stop_bridge()
        yield stage


SECOND_ROW = """
    INSERT INTO events
        (tenant_id, event_type, source, event_timestamp, ingested_at, payload, event_metadata, external_id)
    SELECT tenant_id, event_type, source, event_timestamp, ingested_at, payload, event_metadata, external_id
    FROM events WHERE external_id = ?
"""


def change(stage: Stage, statement: str, *values: object) -> int:
    with closing(sqlite3.connect(stage.database)) as connection, connection:
        return connection.execute(statement, values).rowcount


def test_the_audit_notices_what_it_is_there_for(finished: Stage) -> None:
    """Each of its findings in turn: the audit of a suite that cannot fail would prove nothing."""
    assert describe_findings(finished) == (0, 0, 0, 0)

    newest = f"coinbase-BTC-USD-match-{finished.simulator.trades('BTC-USD').stop - 1}"
    assert change(finished, "DELETE FROM events WHERE external_id = ?", newest) == 1
    lost, *others = describe_findings(finished)
    assert (lost, others) == (2, [0, 0, 0])  # the trade of the market, and the event that was acknowledged

    other = f"coinbase-ETH-USD-match-{finished.simulator.trades('ETH-USD').stop - 1}"
    assert change(finished, SECOND_ROW, other) == 1
    assert describe_findings(finished)[1] == 1

    crossed = "UPDATE events SET payload = replace(payload, '\"is_crossed\":false', '\"is_crossed\":true')"
    assert change(finished, crossed)
    images = describe_findings(finished)[3]
    assert images > 0

    (finished.folder / "bridge.log").write_text(f"Traceback, and {finished.key}\n", encoding="utf-8")
    assert describe_findings(finished)[3] == images + 2

    assert change(finished, 'UPDATE events SET payload = replace(payload, \'"bids":[[\', \'"bids":[["1","1"],[\')')
    assert unseen_books(finished) == ["BTC-USD", "ETH-USD"]


def describe_findings(stage: Stage) -> tuple[int, int, int, int]:
    found = audit(stage)
    return len(found.lost), len(found.duplicated), len(found.silent), len(found.problems)


def test_a_failing_seed_is_repeated_by_one_command() -> None:
    results = [Result(seed=5, lost=["trade 7 of BTC-USD"], fired={"kill": 2}, folder="a folder"), Result(seed=6)]

    told = summary(results, lambda seed: f"make chaos RUNS=1 SEED={seed}")

    assert "seed 5 failed: make chaos RUNS=1 SEED=5" in told
    assert "seed 6 failed" not in told
    assert told.splitlines()[-1] == "runs=2 lost=1 duplicated=0 silent=0 failed=1"
