"""A state for each key, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

S = TypeVar("S")


class PerKey(Generic[S]):
    """States by key, made when it comes first; of more than `most` the one not asked for the longest is forgotten."""

    def __init__(self, make: Callable[[Hashable], S], most: int, forgotten: Callable[[S], None] | None = None) -> None:
        # Not a dict: removing its oldest key over and over has it walk across all that were removed before.
        self._states = OrderedDict[Hashable, S]()
        self._make = make
        self._most = most
        self._forgotten = forgotten

    def of(self, key: Hashable) -> S:
        """The state of a key; what `forgotten` raises when another made room for it passes."""
        states = self._states
        if key in states:
            states.move_to_end(key)
            return states[key]
        state = states[key] = self._make(key)
        if len(states) > self._most:
            _, oldest = states.popitem(last=False)
            if self._forgotten is not None:
                self._forgotten(oldest)
        return state
