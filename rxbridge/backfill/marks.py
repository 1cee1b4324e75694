"""How far each product is delivered without a hole: a small file beside the journal, for the day on which that fails.

A journal that is damaged, or gone, takes frames with it that were read by the backfill and not yet delivered: nobody
would miss their trades. From its marks the backfill begins again, and finds them missing.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import msgspec
from loguru import logger

_MOST_SNAPSHOTS = 512
_VERSION = 1


class _File(msgspec.Struct):
    delivered: dict[str, int]
    version: int = _VERSION


class Marks:
    """Per product, the trade id up to which everything that was ever followed is delivered, or given up.

    Args:
        path: The file; None keeps them in memory only.

    Attributes:
        delivered: The marks.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.delivered: dict[str, int] = self._load()
        self._saved = dict(self.delivered)
        self._snapshots: deque[tuple[int, dict[str, int]]] = deque()

    def note(self, offset: int, floors: Mapping[str, int]) -> None:
        """With all frames up to `offset`, nothing is missing of a product up to this id."""
        newest = self._snapshots[-1] if self._snapshots else None
        if newest is not None and newest[1] == floors:
            return
        self._snapshots.append((offset, dict(floors)))
        if len(self._snapshots) > _MOST_SNAPSHOTS:
            # Every other one: where little is delivered, rough marks have to do.
            self._snapshots = deque(list(self._snapshots)[::-2][::-1])

    def begin(self, product: str, trade_id: int) -> None:
        """A product is followed from above this id on; with nothing older to deliver, that much is delivered."""
        self.delivered.setdefault(product, trade_id)

    def settle(self, acknowledged: int) -> None:
        """All frames up to this offset are delivered."""
        while self._snapshots and self._snapshots[0][0] <= acknowledged:
            self.delivered.update(self._snapshots.popleft()[1])

    def forget_offsets(self) -> None:
        """The journal's frames are not what they were: what was noted of them is void. The marks themselves stay."""
        self._snapshots.clear()

    def save(self) -> None:
        """Write the file if anything has changed. A disk that does not take it is told of; the old file stays."""
        if self._path is None or self.delivered == self._saved:
            return
        draft = self._path.with_name(self._path.name + ".draft")
        try:
            with draft.open("wb") as file:
                file.write(msgspec.json.encode(_File(self.delivered)))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            logger.warning("[BACKFILL] {} cannot be written: {}", self._path, error.strerror or error)
        else:
            self._saved = dict(self.delivered)

    def _load(self) -> dict[str, int]:
        if self._path is None:
            return {}
        try:
            file = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("[BACKFILL] {} cannot be read and is made anew: {}", self._path, error)
            return {}
        return file.delivered if file.version == _VERSION else {}


def _sync_folder(folder: Path) -> None:
    # So that a power cut finds the new name there; where a file system cannot do that, it loses a second of marks.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
