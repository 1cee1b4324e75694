"""What the feed is asked for, and from which frame on: a start may ask for something else than the run before. Pure.

    frames     run 1: ticker, matches │ run 2: ticker │ run 3: ticker, matches
    in force   ticker, matches         ticker          ticker, matches

What the run before has left unread is read as of that run. So what a change costs depends on the frames, and not on
how far they were read when it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from rxbridge.backfill.coverage_state import CoverageState


class InForce(msgspec.Struct, frozen=True):
    """What is asked for; make it by `asked_for`, so that the same is equal.

    Attributes:
        followed: Whose trades are followed; none, if the feed is not subscribed to them.
        channels: Channels whose data are lost while there is no connection.
        quoted: The products of those channels.
    """

    followed: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True):
    """A start that asks for something else: in force from the first frame of a connection behind an offset."""

    after: int
    to: InForce


def asked_for(followed: Iterable[str], channels: Iterable[str], quoted: Iterable[str]) -> InForce:
    """These, in whatever order they come."""
    return InForce(*[tuple(sorted(set(names))) for names in (followed, channels, quoted)])


def found_in_force(coverage: CoverageState, asked: InForce) -> InForce:
    """What was in force, where nothing remembers it: an older version did not, or there was no run before.

    What came last was asked for. What was silent may have been, or was left out by a start long ago: it was, if it is
    asked for now. Where there is neither, it is all that is asked for now.
    """
    pairs = {
        (channel, product)
        for line in coverage.lines.values()
        for channel, products in line.brings.items()
        for product in products
    }
    for channel in coverage.silent.keys() & set(asked.channels):
        pairs.update((channel, product) for product in coverage.silent[channel].keys() & set(asked.quoted))
    if not pairs:
        return asked
    return asked_for(asked.followed, [channel for channel, _ in pairs], [product for _, product in pairs])


class Wishes:
    """What is in force, and what is to come into force.

    Args:
        in_force: As of the last frame that was followed.
        to_come: Starts of which no frame was followed yet, the oldest first.
        asked: What this run asks for.
        starts_after: The last frame that was there when this run began; None: it goes on in the middle of the run.
    """

    def __init__(
        self, in_force: InForce, to_come: Sequence[Change], asked: InForce, starts_after: int | None = None
    ) -> None:
        self.in_force: InForce = in_force
        self._to_come: list[Change] = list(to_come)
        if starts_after is None:
            return
        # A start that nothing came of has changed nothing.
        self._to_come = [change for change in to_come if change.after < starts_after]
        if asked != self._newest:
            self._to_come.append(Change(starts_after, asked))

    @property
    def to_come(self) -> list[Change]:
        """What is to be remembered of the starts."""
        return list(self._to_come)

    @property
    def all_followed(self) -> frozenset[str]:
        """Whose trades are followed, or will be."""
        return frozenset(self.in_force.followed).union(*[change.to.followed for change in self._to_come])

    def starts(self, offset: int) -> bool:
        """Whether this frame of a connection is the first one of a start that asks for something else; now in force."""
        started = [change for change in self._to_come if change.after < offset]
        if started:
            del self._to_come[: len(started)]
            self.in_force = started[-1].to
        return bool(started)

    def change(self, followed: Iterable[str], quoted: Iterable[str]) -> bool:
        """Other products in the midst of a run; whether that changes at once what is in force."""
        asked = asked_for(followed, self._newest.channels, quoted)
        if self._to_come:
            # Nothing has come of this run yet.
            self._to_come[-1] = Change(self._to_come[-1].after, asked)
            return False
        changes = asked != self.in_force
        self.in_force = asked
        return changes

    def forget_offsets(self) -> None:
        """The frames are not what they were: whatever is left of them is of a run that nobody knows."""
        self._to_come = [Change(0, change.to) for change in self._to_come[-1:]]

    @property
    def _newest(self) -> InForce:
        return self._to_come[-1].to if self._to_come else self.in_force
