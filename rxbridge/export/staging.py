"""The temporary folder of an export, which the next one removes where this one could not.

A process that is killed leaves its folder behind, with all rows so far. Its lock is gone with it, by which the next
export into that folder's parent knows that nobody needs it any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loguru import logger

_PREFIX = ".rxbridge-export-"
_LOCK = "lock"


@contextmanager
def staging_folder(parent: Path) -> Generator[Path]:
    """A folder in `parent` that is there until the end; those that killed exports have left there are removed.

    Raises:
        OSError: It cannot be made.
    """
    _remove_abandoned(parent)
    # A lock is held until its folder is gone.
    with ExitStack() as locks, ExitStack() as folders:
        folder = None
        while folder is None:
            made = folders.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent))
            folder = _locked(Path(made), locks)
        yield folder


def _locked(folder: Path, locks: ExitStack) -> Path | None:
    """The folder, locked until the end; None where another export has removed it before it was."""
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        return None
    locks.callback(os.close, descriptor)
    # A file system without such locks has none for the next export either, which then leaves the folder alone.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return folder if folder.exists() else None


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            descriptor = _open(folder)
        except OSError:  # somebody else's, or no folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except (BlockingIOError, FileNotFoundError):
            pass  # at work; or removed by somebody else meanwhile
        except OSError as error:
            logger.warning("[EXPORT] {} may be of an export that was killed, and cannot be removed: {}", folder, error)
        else:
            logger.info("[EXPORT] Removed {}, which an export that was killed had left", folder)
        finally:
            os.close(descriptor)


def _open(folder: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(folder / _LOCK, flags, 0o600)
