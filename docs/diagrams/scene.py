"""What a scene is: a small run of one operator, and how its items are shown."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from pathlib import Path
from typing import Any

from operators.marble import Marble, marble
from operators.marble.picture import Build

FOLDER = Path(__file__).parent

SCENES: dict[str, Callable[[], Marble]] = {}
"""Each operator's scene, by its name; to be called, since an operator is run only when its picture is wanted."""


def scene(
    operator: str,
    *,
    label: Callable[[Any], str] | None = None,
    colour: Callable[[Any], Hashable] | None = None,
    dispose: float = inf,
    until: float = inf,
) -> Callable[[Build], Build]:
    """Make a function of the clock the scene of an operator. The text in the picture is its `return`."""

    def keep(build: Build) -> Build:
        def draw() -> Marble:
            title = f"Marble diagram of {operator}"
            return marble(build, title=title, label=label, colour=colour, dispose=dispose, until=until)

        SCENES[operator] = draw
        return build

    return keep


def letter(item: str) -> str:
    """The key of an item such as `a2`."""
    return item[0]
