"""Where in a journal the connections began that were up at one moment: what they brought since then stands together.

line 1     aaaaaaaaa    cccccccccccccc|         a, b, c are connections, | is the moment
line 2        bbbbbbbbbbbbbbbbbbbbbbbb|         b and c are up, and b is the older one
              └────── these frames ───┘
"""

from __future__ import annotations

from collections.abc import Iterator

from rxbridge.journal.interface import Journal
from rxbridge.messages import OWN_CONNECTION, Frame, line_of

_READ_FRAMES = 1000

_MOST_LOOKED_AT = 50_000
"""A line that is up has a frame among so many, for it brings a heartbeat each second."""


def frames_of_connections(journal: Journal, until: int, silent_nanoseconds: int) -> Iterator[Frame]:
    """The frames up to an offset, since the oldest of the connections began that were up then.

    Args:
        journal: Where the frames are; of those that are there no more, nothing comes.
        until: The offset.
        silent_nanoseconds: A line that has brought nothing for so long is not up.

    Raises:
        JournalError: The journal cannot be read.
    """
    first = max(journal.size().first_offset, 1)  # an empty journal says 0
    begins = [
        _beginning(journal, connection, first, last)
        for connection, last in _up(journal, first, until, silent_nanoseconds)
    ]
    if begins:
        yield from _between(journal, min(begins), until)


def _up(journal: Journal, first: int, until: int, silent_nanoseconds: int) -> list[tuple[int, int]]:
    """The connections that are up, one a line, each with the offset of its newest frame."""
    newest: dict[int, tuple[int, int]] = {}
    newest_at = 0
    for frame in _backwards(journal, first, until):
        if frame.connection == OWN_CONNECTION:
            continue
        newest_at = newest_at or frame.received_at
        if newest_at - frame.received_at > silent_nanoseconds:
            break
        newest.setdefault(line_of(frame.connection), (frame.connection, frame.offset))
    return list(newest.values())


def _beginning(journal: Journal, connection: int, first: int, last: int) -> int:
    """The first offset, not below `first`, from which a line brings no other connection's frames than this one's.

    The connections of one line follow each other, so it is found by halving; `last` is a frame of it.
    """
    line = line_of(connection)
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        near = _between(journal, middle, min(last, middle + _MOST_LOOKED_AT))
        found = next((frame for frame in near if _is_of(frame, line)), None)
        if found is not None and found.connection == connection:
            high = middle
        else:
            low = middle + 1 if found is None else found.offset + 1
    return low


def _is_of(frame: Frame, line: int) -> bool:
    return frame.connection != OWN_CONNECTION and line_of(frame.connection) == line


def _backwards(journal: Journal, first: int, until: int) -> Iterator[Frame]:
    end = until
    while end >= first:
        begin = max(end - _READ_FRAMES + 1, first)
        yield from reversed(list(_between(journal, begin, end)))
        end = begin - 1


def _between(journal: Journal, first: int, until: int) -> Iterator[Frame]:
    after = first - 1
    while after < until and (frames := journal.read(after, _READ_FRAMES)):
        for frame in frames:
            if frame.offset > until:
                return
            yield frame
        after = frames[-1].offset
