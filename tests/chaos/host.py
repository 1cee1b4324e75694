"""Faults of the machine: its disk, its clock, its processes. Each has a begin, and, where it lasts, an end."""

from __future__ import annotations

import array
import fcntl
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.chaos.schedule import Fault
from tests.chaos.stage import Stage
from tests.chaos.stepping import set_clock

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_IMMUTABLE_FL of linux/fs.h: what chattr uses."""

_PAGE_BYTES = 4_096
"""SQLite's default, and the journal's."""


class Host:
    """Does to a stage what its schedule says of the machine.

    Attributes:
        impossible: Kinds that this machine does not permit: to make a file immutable takes privileges, and a file
            system that knows it.
    """

    def __init__(self, stage: Stage) -> None:
        self.impossible: set[str] = set()
        self._stage = stage
        self._frozen: set[Path] = set()
        self._begins: dict[str, Callable[[Fault], bool]] = {
            "disk_full": self._fill_disk,
            "corrupt_running": self._corrupt_running,
            "corrupt_stopped": self._corrupt_stopped,
            "read_only": self._freeze,
            "suspend": self._suspend,
            "step": self._step,
            "kill": self._kill,
            "terminate": self._terminate,
            "sink_kill": self._kill_sink,
            "sink_suspend": self._suspend_sink,
        }
        self._ends: dict[str, Callable[[], None]] = {
            "disk_full": lambda: self._stage.limit_files(resource.RLIM_INFINITY),
            "read_only": self.thaw,
            "suspend": self._resume,
            "sink_suspend": self._resume_sink,
        }

    def begin(self, fault: Fault) -> None:
        """Let it begin, and count it if it could."""
        if self._begins[fault.kind](fault):
            self._stage.fired[fault.kind] += 1
            self._stage.excuse(fault.kind, fault.seconds or 0.0)

    def end(self, fault: Fault) -> None:
        """Let it end."""
        self._ends[fault.kind]()

    def cease(self) -> None:
        """End whatever is going on."""
        for end in self._ends.values():
            end()
        set_clock(self._stage.clock, 0.0)

    def thaw(self) -> None:
        """Let the journal be written again."""
        for path in self._frozen:
            # It may have been replaced meanwhile.
            with suppress(FileNotFoundError):
                _set_immutable(path, immutable=False)
        self._frozen.clear()

    # ---- the disk

    def _fill_disk(self, fault: Fault) -> bool:
        journal = self._stage.journal
        sizes = [part.stat().st_size for part in _parts(journal) if part.exists()]
        spare = int(fault.parameters["spare_bytes"])
        # With no room at all not even the page may be written that was there before.
        self._stage.limit_files(max(sizes, default=0) + spare if spare else 0)
        return True

    def _freeze(self, _: Fault) -> bool:
        for path in _parts(self._stage.journal):
            try:
                _set_immutable(path, immutable=True)
            except FileNotFoundError:
                continue
            except OSError:
                self.impossible.add("read_only")
                return False
            self._frozen.add(path)
        return bool(self._frozen)

    def _corrupt_running(self, fault: Fault) -> bool:
        journal, frozen = self._stage.journal, self._stage.journal in self._frozen
        # A disk goes bad without asking whether it may be written.
        if frozen:
            _set_immutable(journal, immutable=False)
        try:
            return _overwrite_page(journal, float(fault.parameters["place"]), self._stage.schedule.seed)
        finally:
            if frozen:
                _set_immutable(journal, immutable=True)

    def _corrupt_stopped(self, fault: Fault) -> bool:
        self._kill_bridge(0.0)
        return self._corrupt_running(fault)

    # ---- the clock

    def _step(self, fault: Fault) -> bool:
        set_clock(self._stage.clock, float(fault.parameters["seconds"]))
        return True

    # ---- the processes

    def _kill(self, fault: Fault) -> bool:
        return self._kill_bridge(float(fault.parameters.get("away_seconds", 0.0)))

    def _kill_bridge(self, away_seconds: float) -> bool:
        bridge = self._stage.bridge
        if bridge is None or bridge.code is not None:
            return False
        bridge.kill()
        self._stage.bridge_away(away_seconds)
        return True

    def _terminate(self, fault: Fault) -> bool:
        if self._stage.bridge is None or self._stage.bridge.code is not None:
            return False
        self._stage.tell_bridge_to_end(float(fault.parameters["away_seconds"]))
        return True

    def _suspend(self, _: Fault) -> bool:
        if self._stage.bridge is not None:
            self._stage.bridge.send(signal.SIGSTOP)
        return self._stage.bridge is not None

    def _resume(self) -> None:
        if self._stage.bridge is not None:
            self._stage.bridge.send(signal.SIGCONT)

    def _kill_sink(self, fault: Fault) -> bool:
        if self._stage.sink is None:
            return False
        self._stage.sink.kill()
        self._stage.sink_away(float(fault.parameters["away_seconds"]))
        return True

    def _suspend_sink(self, _: Fault) -> bool:
        if self._stage.sink is not None:
            self._stage.sink.send(signal.SIGSTOP)
        return self._stage.sink is not None

    def _resume_sink(self) -> None:
        if self._stage.sink is not None:
            self._stage.sink.send(signal.SIGCONT)


def _parts(journal: Path) -> list[Path]:
    return [journal, journal.with_name(journal.name + "-wal")]


def _overwrite_page(journal: Path, place: float, seed: int) -> bool:
    """Overwrite one page of an SQLite file with noise; False if there is no file yet."""
    try:
        descriptor = os.open(journal, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        pages = os.fstat(descriptor).st_size // _PAGE_BYTES
        if not pages:
            return False
        number = min(int(place * pages), pages - 1)
        os.pwrite(descriptor, Random(f"noise {seed}").randbytes(_PAGE_BYTES), number * _PAGE_BYTES)
    finally:
        os.close(descriptor)
    return True


def _set_immutable(path: Path, *, immutable: bool) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flags = array.array("i", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags, True)  # noqa: FBT003 the flag of ioctl has no name
        flags[0] = flags[0] | _IMMUTABLE if immutable else flags[0] & ~_IMMUTABLE
        fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    finally:
        os.close(descriptor)
