"""The frame as it was received, and what every message says of the one that it came in."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from rxbridge.channels import FeedName
from rxbridge.errors import quoted
from rxbridge.tables import brief, html_table, moment

_SHOWN_BYTES = 80
"""How much of a frame is shown where somebody looks at it; it may have megabytes."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One WebSocket message as received, with when and where.

    Attributes:
        data: The payload, byte for byte.
        received_at: When it was received: nanoseconds since the Unix epoch, UTC.
        connection: The connection it came by: the time at which that was opened, in nanoseconds since the epoch, but
            for the last three digits, which are the number of its line, see `line_of`; 0 for a frame that rxbridge made
            itself, of what REST answered or of what it has found out.
        index: Its position on that connection, from 0.
        offset: Its position in the journal, from 1; 0 for a frame that is in none.
    """

    data: bytes
    received_at: int
    connection: int
    index: int
    offset: int = 0

    def __repr__(self) -> str:
        place = f"connection {self.connection}, index {self.index}, offset {self.offset}"
        text = quoted(self.data[:_SHOWN_BYTES], _SHOWN_BYTES)
        return f"<Frame of {len(self.data):,} bytes, received {moment(self.received_at)}, {place}: {text}>"

    def _repr_html_(self) -> str:
        rows = [
            ("received", moment(self.received_at)),
            ("connection", self.connection),
            ("index", self.index),
            ("offset", self.offset),
            ("bytes", f"{len(self.data):,}"),
            ("data", quoted(self.data[:_SHOWN_BYTES], _SHOWN_BYTES)),
        ]
        return html_table("Frame", (), rows)


OWN_CONNECTION = 0
"""The `connection` of frames that came by none: rxbridge made them. What they say of themselves is believed only so."""

MOST_LINES = 1000
"""How many connections may be kept up at the same time."""


def line_of(connection: int) -> int:
    """Which of the connections that are kept up at the same time this is one of.

    When a connection ends, the next one of the same line takes its place. So a frame says by itself what its
    connection has to do with others.
    """
    return connection % MOST_LINES


REST = "rest"
"""What `rxbridge_source` says of a trade that was fetched from Coinbase's REST API."""

Number: TypeAlias = str | int | float | None
"""A number as it came: mostly decimal text, and perhaps text that is no number at all."""

NO_FRAME = Frame(data=b"", received_at=0, connection=0, index=0)
"""The frame of a message that was made by hand and did not come in one."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """Which part of its frame a message is. A frame of the Exchange feed is one message; Advanced Trade sends several.

    Attributes:
        feed: The feed that the frame came by.
        index: The position among the messages of the frame, from 0.
        count: How many messages the frame holds.
        data: What the frame says of this message alone, as it came if the frame is in its usual form; empty where it
            holds no other.
        is_snapshot: Whether it tells again what was before the subscription.
    """

    feed: FeedName = "exchange"
    index: int = 0
    count: int = 1
    data: bytes = b""
    is_snapshot: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the frame holds no message after this one."""
        return self.index == self.count - 1


WHOLE = Part()
"""The only message of a frame of the Exchange feed."""

FRAME_FIELD = "frame (not on the wire)"
"""What `frame` is called to the decoder: nothing that Coinbase sends, not even a field "frame", sets it."""

PART_FIELD = "part (not on the wire)"
"""Likewise, for `part`."""

UPDATES_FIELD = "updates (not on the wire of the Exchange)"
"""Likewise, for the levels that Advanced Trade sends in another form."""

NO_LEVELS = msgspec.Raw()
"""In the place of levels that are not there. A list of none is something else."""


class MessageBase(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What all messages have.

    Attributes:
        frame: The frame that the message came in. Whoever decodes sets it.
        part: Which part of it the message is.
    """

    frame: Frame = msgspec.field(default=NO_FRAME, name=FRAME_FIELD)
    part: Part = msgspec.field(default=WHOLE, name=PART_FIELD)

    @property
    def data(self) -> bytes:
        """What Coinbase sent of this message: the frame, or its part of it."""
        return self.part.data or self.frame.data

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={brief(value)}" for name, value in self._said())
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, (), [*self._said(), ("received", moment(self.frame.received_at))])

    def _said(self) -> list[tuple[str, object]]:
        """What it says, without what it does not; levels, of which there may be megabytes, by their size."""
        said: list[tuple[str, object]] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name in {"frame", "part"} or value is None or value is NO_LEVELS:
                continue
            is_raw = isinstance(value, msgspec.Raw)
            said.append((name, f"{len(bytes(value)):,} bytes" if is_raw else value))
        return said
