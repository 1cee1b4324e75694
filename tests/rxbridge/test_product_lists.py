"""Lists of products through the whole bridge, as real processes: what is subscribed to, and what an outage costs."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.coinbase.rest import RestClient
from rxbridge.errors import JournalError
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator
from tests.ports import free_port
from tests.rxbridge.product_lists import ListServer, listed

Start: TypeAlias = Callable[..., Any]
USD = tuple(f"P{number:02d}-USD" for number in range(40))


@pytest.fixture
def run(command: Start, pulsestream: EmbeddedPulseStream, pulsestream_key: str, tmp_path: Path) -> Start:
    """Starts a bridge on one journal; `lists` is where it finds the list of products and nothing else."""

    def start(simulator: Simulator, asked: str, *more: object, lists: str | None = None, **environment: str) -> Any:
        reach = ["--feed-url", simulator.url, "--pulsestream-url", pulsestream.url]
        apart = {} if lists is None else {"RXBRIDGE_BACKFILL_URL": lists, "RXBRIDGE_BACKFILL_ENABLED": "false"}
        return command(
            *("run", *reach, "--journal", tmp_path / "journal", "--products", asked, *more),
            PULSESTREAM_API_KEY=pulsestream_key,
            **apart,
            **environment,
        )

    return start


def told(run: Any, *words: str) -> list[str]:
    """The log's messages that hold all of these words."""
    # The last line may not be whole yet.
    lines = run.stderr.rpartition("\n")[0].splitlines()
    messages = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    return [message for message in messages if all(word in message for word in words)]


def traded(folder: Path) -> dict[str, list[int]]:
    """The ids of the trades in the journal, by product; each product that is subscribed to brings its last one."""
    found: dict[str, list[int]] = {}
    # Nobody may have made it yet.
    with suppress(JournalError), closing(SqliteJournal(folder / "journal", role="read")) as journal:
        for frame in journal.read(0, 1_000_000):
            content = json.loads(frame.data)
            if content["type"] in ("match", "last_match"):
                found.setdefault(content["product_id"], []).append(content["trade_id"])
    return found


def is_whole(received: Mapping[str, list[int]], made: Mapping[str, range]) -> bool:
    """Whether of each product all trades are there, from the first of them to the last that was made."""
    return received.keys() == made.keys() and all(
        set(ids) == set(range(min(ids), made[product].stop)) for product, ids in received.items()
    )


def stop(bridge: Any) -> None:
    bridge.send(signal.SIGTERM)
    assert bridge.wait() == 0, bridge.stderr


def test_four_hundred_products_and_one_that_is_delisted(
    *,
    run: Start,
    command: Start,
    pulsestream: EmbeddedPulseStream,
    pulsestream_key: str,
    tmp_path: Path,
    wait_for: Start,
) -> None:
    products = ("OLD-USD:delisted", "400")
    with Simulator(products=products, rate=400, max_trades=1500, heartbeat_seconds=60) as simulator:
        bridge = run(simulator, "ETH-EUR,*-USD")
        with closing(RestClient(simulator.rest_url)) as rest:
            live = [product.id for product in rest.products().values() if not product.idle]
        asked = {"ETH-EUR", *(product for product in live if product.endswith("-USD"))}
        wait_for(lambda: sum(len(simulator.trades(product)) for product in live) == 1500 + len(live), 60)
        made = {product: simulator.trades(product) for product in asked}

        wait_for(lambda: is_whole(traded(tmp_path), made), 60)
        stop(bridge)

    assert len(live) == 400
    received = traded(tmp_path)
    assert set(received) == asked
    for product, ids in received.items():
        assert set(ids) == set(range(min(ids), made[product][-1] + 1)), f"trades of {product} are missing"
    audit = command(
        *("verify", "--json", "--pulsestream-url", pulsestream.url, "--journal", tmp_path / "journal"),
        PULSESTREAM_API_KEY=pulsestream_key,
    )
    assert audit.wait() == 0, audit.stdout
    (meaning,) = told(bridge, f"'*-USD' means {len(asked)} products: ETH-EUR, ADA-USD, AVAX-USD")
    assert meaning.endswith(f"and {len(asked) - 20} more")
    assert told(bridge, "OLD-USD") == ["[PRODUCTS] Left out, as it is matched but not traded: OLD-USD (delisted)"]


def test_what_is_delisted_is_named_once_and_not_asked_for(run: Start, tmp_path: Path, wait_for: Start) -> None:
    products = listed(*USD[:9], halted="P10-USD", delisted="P09-USD P11-USD")
    with (
        Simulator(products=USD, rate=200, max_trades=400, heartbeat_seconds=60) as simulator,
        ListServer(products) as lists,
    ):
        bridge = run(simulator, "P11-USD,P1-USD,*-USD", lists=lists.url)
        wait_for(lambda: told(bridge, "[OK]") and len(traded(tmp_path)) >= 9)
        stop(bridge)

    assert set(traded(tmp_path)) == set(USD[:9])
    (passed_over,) = told(bridge, "P09-USD", "matched but not traded")
    assert "P09-USD (delisted), P10-USD (trading is disabled)" in passed_over
    (named,) = told(bridge, "[PRODUCTS]", "P11-USD")
    assert "'P11-USD' is delisted, and left out; 'P1-USD' is no product of Coinbase's (did you mean P0" in named
    assert not told(bridge, "refuses"), "the feed had to refuse something"


def test_advanced_trade_takes_wildcards_and_ids_that_the_list_has_not(run: Start, wait_for: Start) -> None:
    with (
        Simulator(products=USD[:6], rate=200, feed="advanced") as simulator,
        ListServer(listed(*USD[1:4], delisted=USD[4])) as lists,
    ):
        bridge = run(simulator, f"{USD[5]},*-USD", "--feed", "advanced", "--role", "feed", lists=lists.url)
        wait_for(lambda: told(bridge, "[OK]", USD[5]))
        bridge.send(signal.SIGTERM)
        assert bridge.wait() == 0, bridge.stderr

    assert told(bridge, f"'*-USD' means 4 products: {USD[5]}, {USD[1]}, {USD[2]}, {USD[3]}")
    assert not told(bridge, "is no product")
    for line in told(bridge, "[OK]"):
        assert USD[0] not in line
        assert USD[4] not in line


def test_ids_start_without_an_answer_and_say_so_once(run: Start, tmp_path: Path, wait_for: Start) -> None:
    with Simulator(products=USD, rate=200, max_trades=200, heartbeat_seconds=60) as simulator:
        bridge = run(simulator, "P00-USD,P01-USD", lists=f"http://127.0.0.1:{free_port()}")
        wait_for(lambda: told(bridge, "[OK]") and len(traded(tmp_path)) >= 2)
        stop(bridge)

    assert set(traded(tmp_path)) == {"P00-USD", "P01-USD"}
    assert len(told(bridge, "Not validated, and subscribed to as they are")) == 1
    assert len(told(bridge, "[PRODUCTS]")) == 1


def test_a_restart_during_an_outage_goes_on_with_the_list_of_the_last_time(
    run: Start, tmp_path: Path, wait_for: Start
) -> None:
    with Simulator(products=USD[:5], rate=100) as simulator:
        with ListServer(listed(*USD[:4])) as lists:
            first = run(simulator, "*-USD", "--role", "feed", lists=lists.url)
            wait_for(lambda: told(first, "[OK]") and len(traded(tmp_path)) >= 4)
            stop(first)
        second = run(simulator, "*-USD", "--role", "feed", lists=lists.url)
        wait_for(lambda: told(second, "[OK]"))
        stop(second)

    assert set(traded(tmp_path)) == set(USD[:4])
    (line,) = told(second, "[PRODUCTS]")
    assert "going on with the 4 of the last time" in line


def test_a_wildcard_waits_for_coinbase_and_delivers_meanwhile(run: Start, tmp_path: Path, wait_for: Start) -> None:
    port = free_port()
    lists = f"http://127.0.0.1:{port}"
    with Simulator(products=USD[:3], rate=200, max_trades=300, heartbeat_seconds=60) as simulator:
        before = run(simulator, "P00-USD", "--role", "feed", lists=lists)
        wait_for(lambda: traded(tmp_path))
        stop(before)
        bridge = run(simulator, "*-USD", "--verbose", lists=lists)
        wait_for(lambda: "[SUCCESS]" in bridge.stderr and told(bridge, "Waiting to learn what '*-USD' means"))
        assert set(traded(tmp_path)) == {"P00-USD"}
        with ListServer(listed(*USD[:3]), port):
            wait_for(lambda: set(traded(tmp_path)) == set(USD[:3]))
        bridge.send(signal.SIGTERM)
        assert bridge.wait() == 0, bridge.stderr


def test_a_signal_ends_the_wait(run: Start, wait_for: Start) -> None:
    with Simulator() as simulator:
        bridge = run(simulator, "all", lists=f"http://127.0.0.1:{free_port()}")
        wait_for(lambda: told(bridge, "Waiting to learn what 'all' means"))
        bridge.send(signal.SIGTERM)
        assert bridge.wait() == 0, bridge.stderr

    assert simulator.statistics.connections == 0


def test_nothing_left_ends_with_78_and_says_what_to_do(run: Start) -> None:
    with Simulator() as simulator, ListServer(listed("BTC-USD", delisted="OLD-USD")) as lists:
        bridge = run(simulator, "OLD-USD,*-EUR", lists=lists.url)
        assert bridge.wait() == 78

    last = bridge.stderr.splitlines()[-1]
    assert last.startswith("rxbridge: feed.products: nothing that trades is left of 'OLD-USD, *-EUR'")
    assert "rxbridge products all" in last
    assert simulator.statistics.connections == 0


def test_a_changed_list_is_told_once_and_takes_effect_on_the_open_connection(
    run: Start, tmp_path: Path, wait_for: Start
) -> None:
    with Simulator(products=USD[:4], rate=100) as simulator, ListServer(listed(*USD[:2])) as lists:
        bridge = run(simulator, "*-USD", "--role", "feed", lists=lists.url, RXBRIDGE_FEED_PRODUCTS_CHECK_SECONDS="0.05")
        wait_for(lambda: set(traded(tmp_path)) == set(USD[:2]))
        lists.products = listed(USD[0], USD[2], delisted=USD[1])
        wait_for(lambda: USD[2] in traded(tmp_path))
        wait_for(lambda: told(bridge, "[OK]", USD[2]))
        asked = lists.asked
        wait_for(lambda: lists.asked >= asked + 5)
        bridge.send(signal.SIGTERM)
        assert bridge.wait() == 0, bridge.stderr

    (line,) = told(bridge, "takes effect now")
    assert line.endswith("added: P02-USD; removed: P01-USD")
    assert simulator.statistics.connections == 1
    assert set(traded(tmp_path)) == set(USD[:3])
