"""Whether the products that `--products` names occur at all in what is replayed, or exported."""

from __future__ import annotations

from contextlib import closing

from rxbridge.errors import ConfigError
from rxbridge.left_out import some
from rxbridge.playing import Selection
from rxbridge.replaying import KeptJournal, Recording


def require_some(source: Recording | KeptJournal, chosen: Selection) -> None:
    """Make sure, before anything is made, that one of the products that are asked for occurs.

    It reads up to the first frame of one: mostly that is one of the first.

    Raises:
        ConfigError: None does.
        RecordingError: The recording cannot be read.
        JournalError: The journal cannot be read.
    """
    occurring = set[bytes]()
    if not chosen.products:
        return
    with closing(source.frames(chosen, occurring)) as frames:
        for _ in frames:
            if not occurring.isdisjoint(chosen.products):
                return
    raise ConfigError("--products", without_frames(chosen, occurring))


def without_frames(chosen: Selection, occurring: set[bytes]) -> str:
    """In words, which of the products that are asked for do not occur, and which others do; empty, if all do."""
    absent = chosen.products - occurring
    if not absent:
        return ""
    others = _names(occurring - chosen.products)
    there = f"; there are frames of {others}" if others else ", nor of any other product"
    return f"no frame is of {_names(absent)}{there}"


def _names(products: frozenset[bytes] | set[bytes]) -> str:
    """What stands in a frame is a stranger's, and is escaped."""
    return some(ascii(product.decode("utf-8", "backslashreplace"))[1:-1] for product in sorted(products))
