"""The embedded servers with the faults of a schedule."""

from __future__ import annotations

import re

import requests

from rxbridge.simulator import Simulator
from tests.chaos.books import Levels, levels
from tests.chaos.kinds import PRODUCTS
from tests.chaos.schedule import Schedule, for_server

REST_SECONDS = 10.0
HISTORY_SECONDS = 4.0
"""How far apart the trades of a history are: ten thousand make a night."""


def simulator_of(schedule: Schedule, port: int, *, history: int = 0) -> Simulator:
    """The market of a schedule, with so many trades of each product in the hours before; not started."""
    faults = for_server(schedule.of("feed"), feed=schedule.feed)
    return Simulator(
        feed=schedule.feed,
        products=PRODUCTS,
        rate=schedule.rate,
        seed=schedule.seed,
        port=port,
        faults=faults,
        history=history,
        history_seconds=HISTORY_SECONDS,
    )


def market_books(simulator: Simulator) -> dict[str, tuple[Levels, Levels]]:
    """The bids and asks of each product, all of them, as REST tells them.

    Raises:
        RequestException: It does not answer just now.
    """
    books: dict[str, tuple[Levels, Levels]] = {}
    for product in PRODUCTS:
        answer = requests.get(f"{simulator.rest_url}/products/{product}/book?level=2", timeout=REST_SECONDS)
        answer.raise_for_status()
        told = answer.json()
        books[product] = levels(told["bids"]), levels(told["asks"])
    return books


def fired_of(said: str) -> dict[str, int]:
    """How often each fault fired, as a server says at its end: `faults fired: drop=12 close=3`."""
    told = re.findall(r"^faults fired: (.*)$", said, flags=re.MULTILINE)
    return {kind: int(count) for kind, count in re.findall(r"(\w+)=(\d+)", told[-1])} if told else {}
