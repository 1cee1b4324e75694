"""The pictures of the catalogue are what the operators do, each has one, and the catalogue shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import operators
from docs.diagrams.scenes import FOLDER, SCENES

CATALOGUE = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
OPERATORS = [name for name in operators.__all__ if name.islower()]
"""What is no class is an operator."""


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_picture_is_what_its_scene_draws(name: str) -> None:
    picture = SCENES[name]()

    assert name in picture.call
    assert picture.run.items or picture.run.result.timeline, "nothing is seen in it"
    assert (FOLDER / f"{name}.svg").read_text(encoding="utf-8") == picture.svg(), "run `make diagrams`, and look at it"


@pytest.mark.parametrize("name", sorted(SCENES))
def test_the_catalogue_shows_it_with_words_for_those_who_do_not_see_it(name: str) -> None:
    (chapter,) = [part for part in re.split(r"^## ", CATALOGUE, flags=re.MULTILINE) if f"diagrams/{name}.svg" in part]

    assert re.search(rf"!\[[^\]]+\]\(diagrams/{name}\.svg\)", chapter)
    assert f"`{name}`" in chapter.splitlines()[0]


def test_no_picture_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.svg")} == set(SCENES)


def test_every_scene_is_of_an_operator() -> None:
    assert set(SCENES) <= set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_has_a_picture(name: str) -> None:
    assert name in SCENES, f"write a scene of {name} in docs/diagrams, run `make diagrams`, and show it in operators.md"
