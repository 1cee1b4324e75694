"""Reading the configuration again while the bridge runs, when SIGHUP asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from loguru import logger

from rxbridge.config import Settings, differences
from rxbridge.errors import ConfigError

_PRODUCTS: Final = "feed.products"
"""The one setting that takes effect while the bridge runs."""


class Rereading:
    """Reads the settings again when it was asked to, and tells what has changed.

    Args:
        settings: Those that the bridge was started with.
        load: Reads them again, from wherever they came; raises `ConfigError`.
        take_question: Whether that was asked for since it was called before.
    """

    def __init__(self, settings: Settings, load: Callable[[], Settings], take_question: Callable[[], bool]) -> None:
        self._started = settings
        self._newest = settings
        self._load = load
        self._take_question = take_question

    def take(self) -> tuple[str, ...] | None:
        """Read them if that was asked for since the last time.

        Returns:
            The words of `feed.products`, if they are others than before; else None.
        """
        if not self._take_question():
            return None
        try:
            settings = self._load()
        except ConfigError as error:
            logger.error("[CONFIG] Cannot be read again, so all stays as it is: {}", error)
            return None
        before, self._newest = self._newest, settings
        waiting = [name for name in differences(self._started, settings) if name != _PRODUCTS]
        products = settings.feed.products if settings.feed.products != before.feed.products else None
        if products is not None:
            whose = ", for the process that feeds" if self._started.run.role == "deliver" else ""
            logger.info("[CONFIG] Read again: {} is now {}{}", _PRODUCTS, ", ".join(products), whose)
        elif not waiting:
            logger.info("[CONFIG] Read again: nothing has changed{}", _where_from(settings))
        if waiting:
            logger.warning("[CONFIG] Changed, which takes effect at the next start: {}", ", ".join(waiting))
        return products


def _where_from(settings: Settings) -> str:
    origin = settings.origins[_PRODUCTS]
    # Whoever edits the file in vain wonders why.
    return f"; {_PRODUCTS} is given by {origin.name}" if origin.kind in ("argument", "environment") else ""
