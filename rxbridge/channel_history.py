"""The journal's note of which channels the feed asked for, from which frame on: what came for them is delivered.

    frames      1 ........ 500 501 ........ 900 901 ..
    channels    ticker, matches | ticker        | ticker, level2    | the feed was started with other settings

So a frame that still waits when the settings change makes the events that it was received for; a process that delivers
follows the one that feeds; and an audit expects what there is to expect. Where the note begins, or was lost with its
file, the oldest channels that are known stand for those before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from rxbridge.journal import Journal
from rxbridge.stretches import Stretch, read_stretches, remember_stretch, stretch_at

NOTE = "feed channels"
"""The name of the note."""


class ChannelsAsked(Stretch, frozen=True):
    """The channels of a stretch."""

    channels: tuple[str, ...]


_decoder = msgspec.json.Decoder(list[ChannelsAsked])


class ChannelHistory:
    """Which channels were asked for when a frame was received.

    Args:
        stretches: Oldest first, at least one.
    """

    def __init__(self, stretches: Sequence[ChannelsAsked]) -> None:
        self._stretches = stretches

    @staticmethod
    def of(channels: Collection[str]) -> ChannelHistory:
        """One in which nothing has changed."""
        return ChannelHistory([ChannelsAsked(0, tuple(channels))])

    def at(self, offset: int) -> tuple[str, ...]:
        """The channels for the frame of this offset; of one that is in no journal, whose is 0, the newest."""
        return stretch_at(self._stretches, offset).channels

    def has_asked(self, channel: str, *, after: int = 0) -> bool:
        """Whether a channel was asked for at some frame behind this offset."""
        first = stretch_at(self._stretches, after + 1).after
        return any(channel in stretch.channels for stretch in self._stretches if stretch.after >= first)


class FollowedChannels(ChannelHistory):
    """The channels for which the frames of a journal were received, while another process may begin to ask for others.

    Args:
        journal: Where the note is.
        otherwise: The channels where there is no note: no feed has begun that would have written one.

    Raises:
        JournalError: The journal cannot be read; also by `at`.
    """

    def __init__(self, journal: Journal, otherwise: Collection[str]) -> None:
        self._journal = journal
        self._otherwise = tuple(otherwise)
        self._known_to = 0
        self._look()

    def at(self, offset: int) -> tuple[str, ...]:
        """The channels for the frame of this offset."""
        if offset > self._known_to:
            self._look()
        return super().at(offset)

    def _look(self) -> None:
        # In this order: the note of a frame is written before the frame.
        self._known_to = self._journal.size().last_offset
        super().__init__(_read(self._journal) or [ChannelsAsked(0, self._otherwise)])


def channels_as_received(journal: Journal, otherwise: Collection[str]) -> ChannelHistory:
    """The channels for which the frames that a journal keeps were received.

    Args:
        journal: Where the note is.
        otherwise: The channels where there is no note.

    Raises:
        JournalError: The journal cannot be read.
    """
    return ChannelHistory(_read(journal) or [ChannelsAsked(0, tuple(otherwise))])


def record_channels(journal: Journal, channels: Collection[str]) -> None:
    """Durably note that these are asked for from now on, if others were before.

    Raises:
        JournalError: The journal cannot be read or written.
    """
    stretches = _read(journal)
    # Their order says nothing.
    asked = tuple(sorted(channels))
    if not stretches or stretches[-1].channels != asked:
        remember_stretch(journal, NOTE, stretches, ChannelsAsked(journal.size().last_offset, asked))


def _read(journal: Journal) -> list[ChannelsAsked]:
    return read_stretches(journal, NOTE, _decoder)
