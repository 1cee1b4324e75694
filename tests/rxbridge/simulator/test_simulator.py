"""Starting and stopping: nothing is left behind, and what goes wrong is said."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import websocket

from rxbridge.errors import ConfigError
from rxbridge.simulator import Simulator
from tests.ports import free_port

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_after_a_stop_no_thread_and_no_socket_is_left(connect: Connect) -> None:
    process = psutil.Process()
    open_before, threads_before = process.num_fds(), threads()
    with Simulator(rate=1000, heartbeat_seconds=0.01) as simulator:
        assert threads() - threads_before == {"rxbridge-simulator"}
        clients = [connect(simulator) for _ in range(3)]
        for client in clients[:2]:
            client.subscribe("ticker", "matches", "heartbeat", products=["BTC-USD"])
            client.receive_type("match")
        clients[0].socket.shutdown()
    assert threads() <= threads_before
    for client in clients[1:]:
        client.socket.shutdown()
    # Fewer, where an earlier test's were still on their way out.
    assert process.num_fds() <= open_before
    with socket.socket() as other:
        # The port is free again.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(simulator.url.rpartition(":")[2])))


def test_clients_are_told_of_the_stop(connect: Connect, simulate: Simulate) -> None:
    simulator = simulate(rate=0)
    client = connect(simulator)
    stopping = threading.Thread(target=simulator.stop)
    stopping.start()
    assert client.receive_close() == (1001, "")
    stopping.join()


def test_stop_twice_is_as_good_as_once_and_needs_no_start() -> None:
    Simulator().stop()
    simulator = Simulator(rate=0)
    simulator.start()
    simulator.stop()
    simulator.stop()


def test_a_simulator_starts_once(simulate: Simulate) -> None:
    simulator = simulate(rate=0)
    with pytest.raises(RuntimeError, match="starts once"):
        simulator.start()


def test_a_simulator_that_was_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        Simulator().disconnect_all()


def test_a_port_that_is_taken_is_named(simulate: Simulate) -> None:
    port = int(simulate(rate=0).url.rpartition(":")[2])
    threads_before = threads()
    with pytest.raises(ConfigError, match=f"port: {port} cannot be listened on: .*in use"):
        Simulator(port=port).start()
    assert threads() <= threads_before


def test_a_chosen_port(simulate: Simulate) -> None:
    port = free_port()
    simulator = simulate(rate=0, port=port)
    assert simulator.url == f"ws://127.0.0.1:{port}"
    assert simulator.rest_url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "options",
    [
        {"rate": -1.0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"speed": 0.0},
        {"speed": float("nan")},
        {"heartbeat_seconds": 0.0},
        {"products": ()},
        {"products": ("bitcoin",)},
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Simulator(**options)
    assert caught.value.setting == next(iter(options))


def test_trades_of_an_unknown_product() -> None:
    with pytest.raises(KeyError):
        Simulator().trades("NO-SUCH")


def test_the_market_opens_with_one_trade_and_then_makes_no_more_than_asked(
    simulate: Simulate, wait_for: Callable[..., None]
) -> None:
    simulator = simulate(products=("BTC-USD", "ETH-USD", "SOL-USD"), rate=5000, max_trades=100)

    def made() -> int:
        return sum(len(simulator.trades(product)) for product in ("BTC-USD", "ETH-USD", "SOL-USD"))

    wait_for(lambda: made() == 103)
    simulator.pause()
    assert made() == 103


SERVE = """
import sys
from rxbridge.simulator import serve

statistics = serve(ready=lambda url: print(url, flush=True), rate=100)
print(statistics.connections, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_blocks_until_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            client = websocket.create_connection(url, timeout=20)
            client.shutdown()
            process.send_signal(number)
            assert process.wait(timeout=20) == 0
            assert process.stdout.read() == "1\n"
        finally:
            process.kill()


def test_without_websockets_the_extra_is_named() -> None:
    code = "import sys; sys.modules['websockets'] = None\nimport rxbridge.simulator"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode != 0
    assert "MissingExtra: this needs the package websockets: pip install 'rxbridge[demo]'" in result.stderr
