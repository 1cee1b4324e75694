"""In a real kernel: nothing blocks a cell, and what fails is seen where one looks."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

START = """
import reactivex, rxbridge
from rxbridge.simulator import Simulator
market = Simulator(rate=200, products=("BTC-USD",))
market.start()
"""

pytestmark = pytest.mark.filterwarnings("default")  # the kernel's own libraries warn of what is theirs


def run(folder: Path, *cells: str) -> list[str]:
    """What each cell shows as its result, and writes."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return [
        "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in notebook.cells
    ]


def test_cells_go_on_while_a_connection_runs(tmp_path: Path) -> None:
    shown = run(
        tmp_path,
        START,
        """
        rows = rxbridge.Rows()
        connection = rxbridge.connect(rxbridge.coinbase.trades(["BTC-USD"], url=market.url)).to(rows)
        """.replace("        ", ""),
        "while len(rows) < 20: pass\nconnection",
        "connection.dispose()\nmarket.stop()\nconnection",
    )

    assert "<Connection to Rows, running; " in shown[2]
    assert "<Connection to Rows, disposed; " in shown[3]


def test_what_fails_is_raised_and_shown(tmp_path: Path) -> None:
    failing = "connection = rxbridge.connect(reactivex.of(1, 0)).to(lambda item: 1 / item)"
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run(tmp_path, START, failing, "connection.wait(30)")

    shown = run(
        tmp_path, START, failing, "try:\n    connection.wait(30)\nexcept ZeroDivisionError:\n    pass", "connection"
    )
    assert "failed: ZeroDivisionError: division by zero" in shown[3]


def test_a_bridge_that_cannot_start_says_why(tmp_path: Path) -> None:
    start = "bridge = rxbridge.Bridge(['NONE-USD'], feed_url=market.url, api_key='an-example-key', environment={})"
    with pytest.raises(CellExecutionError, match="nothing that trades is left of 'NONE-USD'"):
        run(tmp_path, START, start, "bridge.start()")
