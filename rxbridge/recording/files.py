"""The names of a recording's files: `day.jsonl.zst`, or `day-0001.jsonl.zst` and so on where it is rotated."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rxbridge.errors import RecordingError
from rxbridge.recording.chunks import COMPRESSED, PLAIN, is_compressed


def numbered(path: Path, number: int) -> Path:
    """The file of this number, from 1, of the recording `path`."""
    stem, ending = _split(path)
    return path.with_name(f"{stem}-{number:04d}{ending}")


def numbers(path: Path) -> list[int]:
    """Which numbered files of the recording `path` there are, ascending."""
    stem, ending = _split(path)
    is_one = re.compile(re.escape(stem) + r"-([0-9]{4,})" + re.escape(ending)).fullmatch
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - names are all that is needed
    except OSError:
        return []
    return sorted(int(found[1]) for name in names if (found := is_one(name)))


def files_of(path: Path) -> list[Path]:
    """The files of a recording, in order: the one of this name, or else those that it was rotated into.

    Raises:
        RecordingError: There is none; or the name is no recording's.
    """
    is_compressed(os.fspath(path))
    if path.exists():
        return [path]
    if found := numbers(path):
        return [numbered(path, number) for number in found]
    first = numbered(path, 1).name
    raise RecordingError(os.fspath(path), f"cannot be read: there is neither this file nor {first}")


def _split(path: Path) -> tuple[str, str]:
    ending = COMPRESSED if is_compressed(path.name) else PLAIN
    return path.name.removesuffix(ending), ending
