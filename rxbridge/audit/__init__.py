"""The proof: what the journal received, held against what PulseStream holds.

The journal is read through the very pipeline that delivers, and the server through its search, each once and in
order; ids meet in a temporary SQLite table, so that memory stays flat however many there are.
"""

from rxbridge.audit.comparison import Report, audit
from rxbridge.audit.expectations import run_as_delivered
from rxbridge.audit.gaps import acknowledge_gaps, acknowledged_gaps, is_acknowledged, unexplained
from rxbridge.audit.repair import Repair
from rxbridge.audit.result import Audit, Hole

__all__ = [
    "Audit",
    "Hole",
    "Repair",
    "Report",
    "acknowledge_gaps",
    "acknowledged_gaps",
    "audit",
    "is_acknowledged",
    "run_as_delivered",
    "unexplained",
]
