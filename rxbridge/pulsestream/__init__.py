"""PulseStream over HTTP: the client, the sink that delivers batches, and reading back what is stored.

with PulseStreamClient("http://localhost:8000", key) as client:
    batches.subscribe(PulseStreamSink(client, settled=..., refused=..., stop=..., statistics=...))
"""

from rxbridge.pulsestream.answers import BatchAnswer, EventOutcome
from rxbridge.pulsestream.client import PulseStreamClient
from rxbridge.pulsestream.dry_run import DryRunSink
from rxbridge.pulsestream.in_flight import InFlight
from rxbridge.pulsestream.search import StoredEvent, stored_events
from rxbridge.pulsestream.sink import PulseStreamSink

__all__ = [
    "BatchAnswer",
    "DryRunSink",
    "EventOutcome",
    "InFlight",
    "PulseStreamClient",
    "PulseStreamSink",
    "StoredEvent",
    "stored_events",
]
