"""A notebook as a page of Markdown, and its pictures as files beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
PICTURES = FOLDER / "pictures"
NOTEBOOKS = sorted((FOLDER.parents[1] / "notebooks").glob("*.ipynb"))

Cell: TypeAlias = Mapping[str, Any]
"""A cell, or an output of one, as the format of notebooks has it: https://nbformat.readthedocs.io."""

_CELL_SECONDS = 60
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)


class Page(NamedTuple):
    """A page, and its pictures by the names of their files."""

    text: str
    pictures: dict[str, str]


def read(path: Path) -> Any:
    """A notebook as its file has it."""
    return cast("Any", nbformat).read(path, as_version=4)


def executed(notebook: Any, folder: str | os.PathLike[str]) -> Any:
    """The notebook with its outputs: run from top to bottom, in a kernel of its own, in this folder.

    Raises:
        CellExecutionError: A cell has raised.
    """
    place = {"metadata": {"path": os.fspath(folder)}}
    NotebookClient(notebook, timeout=_CELL_SECONDS, kernel_name="python3", resources=place).execute()
    return notebook


def write(path: Path, notebook: Any) -> None:
    """Write the page of an executed notebook, and its pictures, in the place of those that there are."""
    page = page_of(path, notebook)
    PICTURES.mkdir(exist_ok=True)
    for old in pictures_of(path):
        old.unlink()
    for name, svg in page.pictures.items():
        (PICTURES / name).write_text(svg, encoding="utf-8")
    page_path(path).write_text(page.text, encoding="utf-8")


def page_path(path: Path) -> Path:
    """Where the page of a notebook is."""
    return FOLDER / f"{path.stem}.md"


def pictures_of(path: Path) -> list[Path]:
    """The pictures of its page that there are."""
    return sorted(PICTURES.glob(f"{path.stem.partition('_')[0]}-*.svg"))


def page_of(path: Path, notebook: Any) -> Page:
    """The page of an executed notebook.

    Raises:
        ValueError: A picture says nothing to those who do not see it. A chart's words are its cell's `alt`.
    """
    pictures: dict[str, str] = {}
    prefix = f"{path.stem.partition('_')[0]}-"
    blocks: list[str] = []
    for cell in notebook.cells:
        blocks.append(source_of(cell))
        blocks.extend(_shown(output, cell, prefix, pictures) for output in _joined(cell.get("outputs", ())))
    blocks.insert(1, f"*This is [a notebook](../../notebooks/{path.name}), run. All of them: [the list](README.md).*")
    return Page("\n\n".join(block for block in blocks if block) + "\n", pictures)


def source_of(cell: Cell) -> str:
    """What a cell says, with links that lead from the page to where they lead from the notebook."""
    text = str(cell["source"])
    if cell["cell_type"] == "code":
        return f"```python\n{text}\n```"
    return re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", text).replace("](../docs/", "](../")


def _joined(outputs: Sequence[Cell]) -> Iterator[Cell]:
    """The outputs, with text of several writes as one."""
    written = ""
    for output in outputs:
        if output["output_type"] == "stream":
            written += output["text"]
            continue
        if written:
            yield {"output_type": "stream", "text": written}
            written = ""
        yield output
    if written:
        yield {"output_type": "stream", "text": written}


def _shown(output: Cell, cell: Cell, prefix: str, pictures: dict[str, str]) -> str:
    data: Mapping[str, str] = output.get("data", {"text/plain": output.get("text", "")})
    if "image/svg+xml" in data:
        svg = data["image/svg+xml"]
        title = _TITLE.search(svg)
        words = cell["metadata"].get("alt") or (title.group(1) if title else "")
        if not words:
            raise ValueError(f"a picture without words: {str(cell['source'])[:200]}")
        name = f"{prefix}{len(pictures) + 1}.svg"
        pictures[name] = svg.rstrip() + "\n"
        return f"![{words}](pictures/{name})"
    if data.get("text/html", "").startswith("<table"):
        return data["text/html"]
    text = _COLOURS.sub("", data["text/plain"]).strip("\n")
    return f"```text\n{text}\n```" if text else ""
