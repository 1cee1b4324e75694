"""Faults that a server on loopback commits on purpose, by a schedule: a file that one writes, or objects in code.

One file rehearses a whole system: both embedded servers read it, each does what concerns its side, and each counts what
it did.
"""

from rxbridge.faults.fault import Fault
from rxbridge.faults.kinds import KINDS, Kind, Side
from rxbridge.faults.reading import parse_faults, read_faults, written
from rxbridge.faults.schedule import Faults, report_line

__all__ = [
    "KINDS",
    "Fault",
    "Faults",
    "Kind",
    "Side",
    "parse_faults",
    "read_faults",
    "report_line",
    "written",
]
