"""How many events may be sent now, so that the rate limit is met as rarely as it can be. Pure: time is handed in.

PulseStream takes so many events of a tenant in each fixed minute of its own clock. Who sends until it refuses gets the
rest of a minute's batches refused; who knows the limit sends just so many, spread over the minute.

    the market is faster       |..........|..........|..........|      even sends, no refusal
    the market is slower       |.  ...   .|.    .    |  .....  .|      whatever comes goes at once

The limit is a setting, or it is learnt: a refusal tells it, or else it is what was taken before. Both may be wrong
soon, since the limit can be raised, and other clients of the tenant use it too. So now and then, when a whole window
was used up without a refusal, the next one is a little larger; and when what is believed turns out too much twice in a
row, half of it is believed. After a refusal nothing is sent until the next window: there is never more than one in
each.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

from rxbridge.pulsestream.limits import WINDOW_SECONDS, Limit

NO_LIMIT = sys.maxsize
"""So many events may be sent while no limit is known."""

SEND_SECONDS = 2.0
"""Between two sends when they are spread: fewer requests than events, and nothing waits for long."""

CLOCK_SECONDS = 2.0
"""How far behind a `Date` header may be: it is cut to the second, and servers write it anew once a second."""

_GROWTH = 4
"""A larger window is tried with a quarter more."""

_SHORTEST_GAP = 1
_GAP_WHEN_TOLD = 10
_LONGEST_GAP = 60
"""Windows between two tries of a larger one."""


class Allowance(NamedTuple):
    """How many events may be sent now; if none, after how many seconds to ask again."""

    events: int
    seconds: float


class Pace:
    """What may be sent, and what was found out about the limit.

    All times are seconds of one clock that only rises.

    Args:
        events_per_minute: The limit, if it is known. More is never tried; a refusal that tells a lower one is believed.
    """

    def __init__(self, events_per_minute: int | None = None) -> None:
        self._most = NO_LIMIT if events_per_minute is None else events_per_minute
        self._base = events_per_minute
        self._told: Limit | None = None
        self._window_seconds = WINDOW_SECONDS
        self._extra = 0
        self._top_seen = False
        self._gap = self._patience = _SHORTEST_GAP
        self._offset: float | None = None
        self._window: int | None = None
        self._used = 0
        self._taken = 0
        self._spilled = 0
        self._refused = False
        self._early = self._early_before = False
        self._pressed = False
        self._closed_until = -math.inf
        self._next_at = -math.inf

    @property
    def limit(self) -> Limit | None:
        """What a window is believed to take of what we send; None if nothing is known."""
        return None if self._base is None else Limit(self._base, self._window_seconds)

    def allowance(self, now: float, *, hurry: bool = False) -> Allowance:
        """How many events may be sent now; it is taken for granted that they are.

        Args:
            now: The time.
            hurry: Whether to use up at once what is left of the window.
        """
        self._roll(now)
        if now < self._closed_until:
            return Allowance(0, self._closed_until - now)
        if self._base is None:
            return Allowance(NO_LIMIT, 0.0)
        left = self._base + self._extra - self._used
        position = self._server_time(now) % self._window_seconds
        # The end of the window may be nearer than we know, and what came after it would count for the next.
        usable = self._window_seconds - min(CLOCK_SECONDS, self._window_seconds / 10) - position
        spread = self._pressed and not hurry
        if left <= 0 or (spread and usable <= 0):
            return Allowance(0, self._window_seconds - position)
        if not spread:
            return Allowance(left, 0.0)
        if now < self._next_at:
            return Allowance(0, self._next_at - now)
        self._next_at = now + SEND_SECONDS
        return Allowance(math.ceil(left * min(SEND_SECONDS / usable, 1.0)), 0.0)

    def answered(self, now: float, *, stored: int, server_time: float) -> None:
        """A request was answered, and nothing in it refused for the limit.

        Args:
            now: When.
            stored: Its events that are stored and were not before: those count, others do not.
            server_time: The server's clock, in Unix seconds.
        """
        self._see(now, server_time)
        self._charge(now, stored)
        self._taken += stored

    def unanswered(self, now: float, events: int) -> None:
        """A request failed in a way that lets the server have counted its events: PulseStream counts before it stores.

        Args:
            now: When.
            events: How many it held.
        """
        self._charge(now, events)

    def refused(
        self,
        now: float,
        *,
        resume_seconds: float,
        stored: int = 0,
        limit: Limit | None,
        server_time: float | None = None,
    ) -> None:
        """The limit was met.

        Args:
            now: When.
            resume_seconds: After how long the server may be asked again.
            stored: Events of the same request that are stored all the same, and were not before.
            limit: What the refusal tells.
            server_time: The server's clock, in Unix seconds, if it is known.
        """
        self._charge(now, stored)
        self._taken += stored
        if server_time is not None:
            # What was believed of its clock may be wrong, if it refuses what it should take.
            self._see(now, server_time, anew=self._base is not None and self._used < self._base)
        elif self._offset is None:
            self._set_clock(now, -now - max(resume_seconds, 0.0))
        self._correct(limit)
        rest = self._window_seconds - self._server_time(now) % self._window_seconds
        # One that asks for another try in the same window, and refuses that too, is not believed again.
        waits = rest if server_time is not None or self._refused else resume_seconds
        self._closed_until = now + max(waits, resume_seconds)
        self._refused = self._pressed = True

    def _correct(self, limit: Limit | None) -> None:
        """Less is believed after a refusal, unless it tells the limit."""
        if limit is not None and limit != self._told:
            self._told = limit
            self._window_seconds = limit.seconds
            self._base = min(limit.events, self._most)
            self._gap = _GAP_WHEN_TOLD
        elif self._base is None:
            self._base = self._taken or None
        elif self._taken < self._base:
            # Once, that is others who were before us in this window; twice, they are there to stay.
            self._early = True
            if self._early_before:
                self._base = max(self._taken, self._base // 2, 1)
                self._gap = _SHORTEST_GAP
        elif self._extra:
            self._base = min(self._taken, self._base + self._extra)
            self._top_seen = True
            self._gap = min(self._gap * 2, _LONGEST_GAP)
        self._extra = 0
        self._patience = self._gap

    def _roll(self, now: float) -> None:
        """Begin a new window if the last one is over. A clock that was set back begins none."""
        window = self._window_at(now)
        passed = 1 if self._window is None else window - self._window
        if passed <= 0:
            return
        used_up = self._base is not None and self._used >= self._base + self._extra
        self._pressed = passed == 1 and (used_up or self._refused)
        if used_up and not self._refused:
            self._learn_more()
        else:
            self._extra = 0
        self._early_before = passed == 1 and self._early
        self._window, self._refused, self._early = window, False, False
        self._used = self._spilled if passed == 1 else 0
        self._taken = self._spilled = 0

    def _learn_more(self) -> None:
        """A window was used up without a refusal: what was tried is believed, and now and then more is tried."""
        base = self._base or 0
        if self._extra:
            self._base = base = base + self._extra
            self._gap = _SHORTEST_GAP
            self._patience = 0
            if self._told is not None and base > self._told.events:
                self._told = None
        else:
            self._patience -= 1
        self._extra = 0
        if self._patience > 0:
            return
        self._patience = self._gap
        most = self._most
        if self._told is not None and base < self._told.events:
            most = min(most, self._told.events)
        # Until it was met once, the limit may be far away.
        more = base if self._told is None and not self._top_seen else max(base // _GROWTH, 1)
        self._extra = min(more, most - base)

    def _charge(self, now: float, events: int) -> None:
        self._roll(now)
        self._used += events
        # So near the end of the window it may have been counted for the next one.
        if self._window is not None and self._window_at(now + CLOCK_SECONDS) > self._window:
            self._spilled += events

    def _see(self, now: float, server_time: float, *, anew: bool = False) -> None:
        """Learn how the server's clock stands to ours. What its header tells may be late, so the earliest counts."""
        offset = server_time - now
        if anew or self._offset is None or offset > self._offset or offset < self._offset - 2 * CLOCK_SECONDS:
            self._set_clock(now, offset)

    def _set_clock(self, now: float, offset: float) -> None:
        """Believe this of the server's clock. The present window goes on, unless a later one has begun by it."""
        first, self._offset = self._offset is None, offset
        if self._window is None or first or self._window_at(now) < self._window:
            self._window = self._window_at(now)

    def _window_at(self, now: float) -> int:
        return int(self._server_time(now) // self._window_seconds)

    def _server_time(self, now: float) -> float:
        return now + (self._offset or 0.0)
