"""Searches the inputs of one target, guided by coverage: `python -m tests.fuzz.search TARGET [options of libFuzzer]`.

Needs atheris, which `make fuzz` installs beside everything else and not among it.
"""

from __future__ import annotations

import random
import sys
from importlib import import_module
from typing import Any

# By its name, as it is not there for whoever checks types or runs the other tests.
atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["rxbridge", "json", "websocket"]):
    from tests.fuzz.mutation import mutated
    from tests.fuzz.targets import TARGETS


def mutate(data: bytes, largest: int, seed: int) -> bytes:
    """Every other mutation knows what JSON is; the others are the library's, which also crosses what it has found."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return atheris.Mutate(data, largest)
    return mutated(data, chance)[:largest]


def main() -> None:
    """Search until `-runs` inputs were tried, or a finding was made."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name].run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
