"""Every notebook runs from top to bottom, is kept without its outputs, and has a page that shows them."""

import re
from pathlib import Path

import nbformat
import pytest

from docs.notebooks.pages import FOLDER, NOTEBOOKS, PICTURES, executed, page_of, page_path, pictures_of, source_of

INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")


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
def test_it_runs_from_top_to_bottom_and_leaves_no_file(path: Path, tmp_path: Path) -> None:
    notebook = executed(path, tmp_path)

    page = page_of(path, notebook)
    assert not list(tmp_path.iterdir())
    if notebook.metadata.get("rxbridge", {}).get("reproducible"):
        assert page.text == page_path(path).read_text(encoding="utf-8"), "run `make notebooks`, and look at it"
        shown = {picture.name: picture.read_text(encoding="utf-8") for picture in pictures_of(path)}
        assert page.pictures == shown, "run `make notebooks`, and look at them"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_its_outputs_are_stripped(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_its_page_is_of_the_notebook_as_it_is(path: Path) -> None:
    page = page_path(path).read_text(encoding="utf-8")

    place = 0
    for cell in nbformat.read(path, as_version=4).cells:
        assert source_of(cell) in page[place:], "run `make notebooks`"
        place = page.index(source_of(cell), place) + 1
    for text, target in re.findall(r"\[([^\]]*)\]\((?!https?://|#)([^)#]+)", page):
        assert text
        assert (FOLDER / target).exists(), f"{path.stem} links to {target}"


def test_every_picture_is_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md"))

    assert {file.name for file in PICTURES.iterdir()} == set(re.findall(r"\]\(pictures/([\w.-]+)\)", text))
