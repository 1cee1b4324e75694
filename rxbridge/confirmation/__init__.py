"""Proof that what PulseStream has confirmed is stored, and a second sending of what is not.

`Confirmation` does that in the background; the audit and the commands for dead letters use its parts.
"""

from rxbridge.confirmation.confirmation import Confirmation
from rxbridge.confirmation.note import CONSUMER, Mode, confirmed_up_to, switch_off
from rxbridge.confirmation.proving import Posted, Prover
from rxbridge.confirmation.purged import purged_offsets, remember_purged
from rxbridge.confirmation.reading import EventMaker, read_frames, without_proof
from rxbridge.confirmation.retry import Retry, RetryResult

__all__ = [
    "CONSUMER",
    "Confirmation",
    "EventMaker",
    "Mode",
    "Posted",
    "Prover",
    "Retry",
    "RetryResult",
    "confirmed_up_to",
    "purged_offsets",
    "read_frames",
    "remember_purged",
    "switch_off",
    "without_proof",
]
