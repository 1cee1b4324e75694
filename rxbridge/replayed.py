"""What makes one replay another one: the settings that decide which events its frames become, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rxbridge import books
from rxbridge.config import Settings
from rxbridge.custom_pipelines import BUILTIN
from rxbridge.pulsestream.address import parse_address


def decisive(settings: Settings, pipelines: Iterable[str]) -> dict[str, str]:
    """The values by name, without those that have no say; the order in which a user wrote something is none.

    `feed.protocol` has none: a frame says itself of which feed it is. The key has, and is kept nowhere.

    Args:
        settings: The settings.
        pipelines: The names of the pipelines that were loaded, which do not depend on where they are named from.

    Raises:
        ConfigError: PulseStream's address is none.
    """
    names, events = sorted(pipelines), settings.events
    values = {
        "pulsestream.url": parse_address(settings.pulsestream.url).base,
        "run.pipeline": ", ".join(names),
        "events.environment": events.environment,
    }
    if BUILTIN not in names:
        return values
    channels = sorted(settings.feed.channels)
    values |= {"feed.channels": ", ".join(channels), "events.raw": str(events.raw).lower()}
    if books.CHANNEL in channels:
        values["events.book"] = events.book
        if events.book == "images":
            values |= {"events.book_depth": str(events.book_depth), "events.book_seconds": f"{events.book_seconds:g}"}
    return values


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """In words, what has another value; what has a say in one of them only follows from another difference."""
    return [
        f"{name} was {before[name]}, and is now {value}"
        for name, value in now.items()
        if name in before and before[name] != value
    ]
