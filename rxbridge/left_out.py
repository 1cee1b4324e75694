"""Says what of a list of products is left out and why, each thing once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loguru import logger

from rxbridge.coinbase.catalogue import Resolution

_MOST_NAMED = 20


class LeftOut:
    """Remembers what was said, and says what is new, or has another reason now."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def tell(self, meant: Resolution) -> None:
        """Say what is left out, unless that was said before."""
        problems = meant.problems()
        # A line a kind: the log withholds what comes from the same place in the same moment.
        if sentences := self._untold(problems):
            logger.warning("[PRODUCTS] {}", some(sentences.values(), "; "))
        if paused := self._untold(meant.paused):
            logger.warning("[PRODUCTS] Subscribed to, though not traded now: {}", some(_with_reasons(paused)))
        if passed_over := self._untold(meant.passed_over):
            listed = some(_with_reasons(passed_over))
            logger.info("[PRODUCTS] Left out, as it is matched but not traded: {}", listed)
        self._told = problems | meant.paused | meant.passed_over

    def _untold(self, reasons: Mapping[str, str]) -> dict[str, str]:
        return {word: reason for word, reason in reasons.items() if self._told.get(word) != reason}


def some(names: Iterable[str], between: str = ", ") -> str:
    """The names in a row, and how many more there are where they are many."""
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    return between.join(listed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _with_reasons(reasons: Mapping[str, str]) -> list[str]:
    return [f"{product} ({reason})" for product, reason in reasons.items()]
