"""Every notebook runs from top to bottom, is kept without its outputs, and has a page that shows them."""

import re
from pathlib import Path

import nbformat
import pytest

from docs.notebooks.pages import (
    FOLDER,
    NOTEBOOKS,
    PICTURES,
    executed,
    page_of,
    page_path,
    pictures_of,
    read,
    source_of,
)

INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")

BEFORE = """
import contextlib, os, threading, time
from ipykernel.connect import get_connection_info

# The kernel's own, on which whoever runs the notebook may come whenever it likes.
kernel_ports = {value for name, value in get_connection_info(unpack=True).items() if name.endswith("_port")}

def is_foreign(line):
    return int(line.split()[1].partition(":")[2], 16) not in kernel_ports

def connections():
    own = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # it was closed in this moment
            own.add(os.readlink(f"/proc/self/fd/{name}"))
    inodes = [line.split()[9] for line in open("/proc/self/net/tcp").readlines()[1:] if is_foreign(line)]
    return {inode for inode in inodes if f"socket:[{inode}]" in own}

opened_before = set(threading.enumerate()) | connections()
"""
AFTER = """
deadline = time.monotonic() + 30
while left := (set(threading.enumerate()) | connections()) - opened_before:
    assert time.monotonic() < deadline, f"{left} are left"
    time.sleep(0.05)
"""
"""What a notebook has opened is closed at its end; it may take a moment."""


def name_of(path: Path) -> str:
    return path.stem


def test_they_are_numbered_and_listed() -> None:
    numbers = [int(path.stem.partition("_")[0]) for path in NOTEBOOKS]

    assert numbers == [1, 2, 3, 4, 5, 6]
    assert re.findall(r"^\| \[.*\]\((\w+\.md)\) \|", INDEX, flags=re.MULTILINE) == [
        page_path(path).name for path in NOTEBOOKS
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
# The kernel's own libraries warn about event loops and paths; what a notebook does is none of their business.
@pytest.mark.filterwarnings("default")
def test_it_runs_from_top_to_bottom_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    notebook = read(path)
    around = [nbformat.v4.new_code_cell(source) for source in (BEFORE, AFTER)]
    notebook.cells = [around[0], *notebook.cells, around[1]]
    executed(notebook, tmp_path)

    notebook.cells = notebook.cells[1:-1]
    page = page_of(path, notebook)
    assert not list(tmp_path.iterdir())
    if notebook.metadata.get("rxbridge", {}).get("reproducible"):
        assert page.text == page_path(path).read_text(encoding="utf-8"), "run `make notebooks`, and look at it"
        shown = {picture.name: picture.read_text(encoding="utf-8") for picture in pictures_of(path)}
        assert page.pictures == shown, "run `make notebooks`, and look at them"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_its_outputs_are_stripped(path: Path) -> None:
    notebook = read(path)

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_its_page_is_of_the_notebook_as_it_is(path: Path) -> None:
    page = page_path(path).read_text(encoding="utf-8")

    place = 0
    for cell in read(path).cells:
        assert source_of(cell) in page[place:], "run `make notebooks`"
        place = page.index(source_of(cell), place) + 1
    for text, target in re.findall(r"\[([^\]]*)\]\((?!https?://|#)([^)#]+)", page):
        assert text
        assert (FOLDER / target).exists(), f"{path.stem} links to {target}"


def test_every_picture_is_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md"))

    assert {file.name for file in PICTURES.iterdir()} == set(re.findall(r"\]\(pictures/([\w.-]+)\)", text))
