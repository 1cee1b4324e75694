"""What the backfill remembers: in a note of the journal, as of one offset, so that a restart goes on from there."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rxbridge.backfill.coverage_state import CoverageState
from rxbridge.backfill.in_force import Change, InForce
from rxbridge.backfill.tracker import Hole, Tracker

_VERSION = 2


class ProductState(msgspec.Struct):
    """A tracker at rest; holes are pairs of the first and the last missing id."""

    first: int | None
    head: int | None
    hint: int | None = None
    holes: list[tuple[int, int]] = []


class State(msgspec.Struct):
    """Everything that was found out from the frames up to `offset`, and from nothing else.

    Attributes:
        offset: The last frame that counts.
        products: What is there and what is missing, by product.
        coverage: What the connections bring, and what they did not.
        spoilt: By connection, the products whose books wait for a snapshot since a frame could not be read.
        suspects: Products of which trades may be missing that no newer one has betrayed yet.
        quoted_to: The offset up to which disconnects are on record.
        damage: Stands for the damage to the journal that was dealt with.
        since: Nanoseconds since the Unix epoch: the products in `reaching` are still to be followed from then on.
        reaching: Those products.
        in_force: What was asked for as of that frame; None in a note of an older version.
        to_come: What starts have asked for of which nothing was read yet.
        version: Of this shape.
    """

    offset: int = 0
    products: dict[str, ProductState] = {}
    coverage: CoverageState = msgspec.field(default_factory=CoverageState)
    spoilt: dict[int, list[str]] = {}
    suspects: list[str] = []
    quoted_to: int = 0
    damage: str = ""
    since: int = 0
    reaching: list[str] = []
    in_force: InForce | None = None
    to_come: list[Change] = []
    version: int = _VERSION


_DECODER = msgspec.json.Decoder(State)


def encode(state: State) -> bytes:
    """The note."""
    return msgspec.json.encode(state)


def decode(note: bytes) -> State | None:
    """The state in a note; None if that is of another version, or damaged."""
    try:
        state = _DECODER.decode(note)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return state if state.version == _VERSION else None


def at_rest(trackers: Mapping[str, Tracker]) -> dict[str, ProductState]:
    """Trackers as they are kept."""
    return {
        product: ProductState(
            tracker.first, tracker.head, tracker.hint, [(hole.first, hole.last) for hole in tracker.holes]
        )
        for product, tracker in trackers.items()
    }


def awake(products: Mapping[str, ProductState]) -> dict[str, Tracker]:
    """Trackers as they were kept; all of their holes are due."""
    return {
        product: Tracker(kept.first, kept.head, kept.hint, [Hole(first, last) for first, last in kept.holes])
        for product, kept in products.items()
    }
