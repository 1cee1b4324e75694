"""What came of some channel in some time: nothing, or not all."""

from __future__ import annotations

from typing import NamedTuple

UNREADABLE = -1
"""Stands for the number of lost frames where one could not be read, or the journal had no room for some."""


class Silence(NamedTuple):
    """A channel brought nothing, or not all, of some products from `first` to `last`: nanoseconds since the Unix epoch.

    After a disconnect a product's silence ends when Coinbase acknowledges its subscription, or sends something of it,
    whichever comes first: one that is refused after a disconnect has a silence of its own. Within a connection it lies
    between two frames of Advanced Trade, or of an Exchange product's orders, where their numbers say that `lost_frames`
    were lost in between; or from a frame to the snapshot of a book that could not be followed any more, where
    `lost_frames` is `UNREADABLE`.
    """

    channel: str
    products: tuple[str, ...]
    first: int
    last: int
    lost_frames: int = 0


def reason_of(silence: Silence) -> str:
    """Why the channel brought nothing, in words."""
    if silence.lost_frames == UNREADABLE:
        seconds = (silence.last - silence.first) / 1e9
        why = "a frame could not be read, or not be kept"
        return f"{why}, so the book was not known until its next snapshot, for {seconds:.1f} s"
    if silence.lost_frames and silence.channel == "full":
        return (
            f"messages were lost, {silence.lost_frames} by their numbers; "
            "Coinbase does not say afterwards what became of the orders"
        )
    if silence.lost_frames:
        return (
            f"frames of the connection were lost, {silence.lost_frames} by their numbers; "
            "Coinbase does not say afterwards what the channel brought in them"
        )
    if silence.last <= silence.first:
        return "the connection was lost, for a time that nobody knows, as the clock was set back meanwhile"
    seconds = (silence.last - silence.first) / 1e9
    return f"the connection was lost; Coinbase does not say afterwards what the channel brought in {seconds:.1f} s"
