"""The bridge as other code starts it, against the embedded servers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from reactivex import Observable
from reactivex import operators as ops
from websockets.sync.server import ServerConnection

from rxbridge import Bridge
from rxbridge.config import load
from rxbridge.errors import ConfigError, JournalInUse, SubscriptionRejected, Unauthorized
from rxbridge.events import CustomEvent, event
from rxbridge.messages import Frame
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator
from rxbridge.telemetry.statistics import Statistics
from tests.rxbridge.coinbase.servers import FeedServer, hold, refusal

Wait = Callable[..., None]
Options = dict[str, Any]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(rate=200, products=("BTC-USD", "ETH-USD")) as running:
        yield running


@pytest.fixture
def options(simulator: Simulator, pulsestream: EmbeddedPulseStream, pulsestream_key: str, tmp_path: Path) -> Options:
    return {
        "products": ["BTC-USD"],
        "feed_url": simulator.url,
        "pulsestream_url": pulsestream.url,
        "api_key": pulsestream_key,
        "journal": tmp_path / "embedded.journal",
        "settings": {"delivery.confirm": "none"},
        "config": Path(os.devnull),
        "environment": {},
    }


def bridge_of(options: Options, **others: Any) -> Bridge:
    return Bridge(**(options | others))


def own_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("rxbridge")}


def test_it_delivers_and_drains_and_leaves_nothing(options: Options, wait_for: Wait) -> None:
    before = set(threading.enumerate())
    with Bridge(**options) as bridge:
        wait_for(lambda: bridge.statistics().delivery.delivered > 20)
        assert bridge.state == "running"
        assert not bridge.wait(0)
        assert "BTC-USD, running; " in repr(bridge)

    now = bridge.statistics()
    assert bridge.state == "stopped"
    assert now.waiting_frames == 0
    assert now.delivery.delivered == now.delivery.received > 20
    wait_for(lambda: {one.name for one in set(threading.enumerate()) - before} <= {"rxbridge-simulator"})


def test_it_may_be_started_again_and_no_second_time(options: Options, wait_for: Wait) -> None:
    bridge = Bridge(**options)
    assert (bridge.state, bridge.statistics().arrived_frames) == ("new", 0)
    assert bridge.wait(0)
    arrived = 0
    for _ in range(2):
        bridge.start()
        with pytest.raises(RuntimeError, match="running already"):
            bridge.start()
        wait_for(lambda: bridge.statistics().feed.frames > 5)
        arrived, before = bridge.stop().arrived_frames, arrived
        assert arrived > before


def test_other_products_may_be_asked_for(options: Options, simulator: Simulator, wait_for: Wait) -> None:
    bridge = Bridge(**options)
    with pytest.raises(RuntimeError, match="new"):
        bridge.ask_for("ETH-USD")
    with bridge:
        wait_for(lambda: bridge.statistics().feed.settled)
        settled = bridge.statistics().feed.settled
        bridge.ask_for("BTC-USD, ETH-USD")
        wait_for(lambda: bridge.statistics().feed.settled > settled)


def test_one_call_may_do_for_a_finite_feed(options: Options, wait_for: Wait) -> None:
    with Simulator(rate=500, max_trades=50) as finite:
        bridge = bridge_of(options, feed_url=finite.url)
        # Heartbeats are frames too, so it is the time that ends it.
        assert bridge.run(0.2).waiting_frames == 0
        assert bridge.state == "stopped"

        # Or whoever has seen enough.
        running: list[Statistics] = []
        call = threading.Thread(target=lambda: running.append(bridge.run(600)), daemon=True)
        call.start()
        wait_for(lambda: bridge.statistics().delivery.delivered)
        bridge.stop()
        call.join(30)
    (statistics,) = running
    assert statistics.waiting_frames == 0
    assert statistics.delivery.delivered > 0


def test_a_refused_key_is_seen_where_it_is_started_and_never_shown(options: Options) -> None:
    bridge = bridge_of(options, api_key="a-wrong-key-123")
    with pytest.raises(Unauthorized), bridge:
        pytest.fail("it has started")
    assert bridge.state == "failed"
    with pytest.raises(Unauthorized):
        bridge.wait()
    for shown in (repr(bridge), bridge._repr_html_(), str(vars(bridge))):
        assert "a-wrong-key-123" not in shown
    assert "failed: Unauthorized: " in repr(bridge)


def test_a_journal_in_use_is_seen_where_it_is_started(options: Options) -> None:
    with Bridge(**options), pytest.raises(JournalInUse, match=r"this process .*; stop the bridge"), Bridge(**options):
        pytest.fail("it has started")


def test_what_is_no_product_is_seen_where_it_is_started(options: Options, wait_for: Wait) -> None:
    bridge = bridge_of(options, products=["NONE-USD"])
    with pytest.raises(ConfigError, match="nothing that trades is left"):
        bridge.start()
    wait_for(lambda: not own_threads() - {"rxbridge-simulator"})


def refuse(server: FeedServer, connection: ServerConnection) -> None:
    server.subscribed(connection)
    connection.send(refusal("BTC-USD is not a valid product"), text=True)
    hold(server, connection)


def test_what_ends_it_later_is_raised_by_wait_and_by_stop(
    options: Options, simulator: Simulator, wait_for: Wait
) -> None:
    server = FeedServer(refuse)
    rest = {"backfill.url": simulator.url.replace("ws:", "http:"), "delivery.confirm": "none"}
    bridge = bridge_of(options, feed_url=server.url, settings=rest)
    with suppress(SubscriptionRejected):  # it may be so fast that the start sees it
        bridge.start()
    with pytest.raises(SubscriptionRejected):
        bridge.wait(30)
    with pytest.raises(SubscriptionRejected):
        bridge.stop()
    server.close()
    wait_for(lambda: not own_threads() - {"rxbridge-simulator"})


def test_an_exception_in_the_block_is_not_replaced(options: Options) -> None:
    bridge = Bridge(**options)
    with pytest.raises(KeyError), bridge:
        raise KeyError
    assert bridge.state == "stopped"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"api_key": None}, "pulsestream.key"),
        ({"api_key": 3}, "api_key"),
        ({"channels": "tickers"}, "channels"),
        ({"products": []}, "products"),
        ({"products": 3}, "products"),
        ({"feed_url": "http://x"}, "feed_url"),
        ({"settings": {"batch.count": 0}}, "batch.count"),
        ({"pipeline": []}, "run.pipeline"),
        ({"settings": {"batch.counts": 5}}, "batch.counts"),
        ({"settings": {"feed.url": "ws://x"}}, "feed.url"),
        ({"settings": load(Path(os.devnull), {}, {})}, "feed.products"),
    ],
    ids=[
        "no key",
        "a number as the key",
        "wrong value",
        "no products",
        "no list of products",
        "another address",
        "wrong value among the others",
        "no pipeline",
        "unknown name",
        "twice",
        "beside complete settings",
    ],
)
def test_settings_that_are_wrong_are_refused_at_once(options: Options, changed: Options, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        bridge_of(options, **changed)
    assert refused.value.setting == named
    assert "Tuple" not in str(refused.value)


def test_complete_settings_do(options: Options, simulator: Simulator, tmp_path: Path) -> None:
    given = {"feed.url": simulator.url, "run.dry_run": True, "feed.channels": "heartbeat"}
    with Bridge(settings=load(Path(os.devnull), given, {})) as bridge:
        assert bridge.state == "running"
    assert bridge.state == "stopped"


def test_a_pipeline_of_ones_own_is_a_function(options: Options, wait_for: Wait) -> None:
    def sizes(frames: Observable[Frame]) -> Observable[CustomEvent]:
        return frames.pipe(ops.map(lambda frame: event("Size", {"bytes": len(frame.data)}, service="sizes")))

    with bridge_of(options, pipeline=["builtin", sizes]) as bridge:
        wait_for(lambda: bridge.statistics().delivery.delivered > 20)

    counts = bridge.statistics().delivery
    assert counts.received == counts.delivered
    (made,) = counts.made.values()
    assert 0 < made < counts.received


def test_a_pipeline_that_is_none_is_told_by_the_constructor(options: Options) -> None:
    def nothing(_frames: Observable[Frame]) -> None:
        return None

    with pytest.raises(ConfigError, match="nothing' gives no Observable, but NoneType"):
        bridge_of(options, pipeline=nothing)
    for none in (3, ["builtin", 3]):
        with pytest.raises(ConfigError, match="3 is no pipeline, but of type int"):
            bridge_of(options, pipeline=none)
    with pytest.raises(ConfigError, match="there is no module 'nowhere'"):
        bridge_of(options, pipeline="builtin,nowhere:pipeline")
