"""PulseStream's records, and how a message becomes one."""

from rxbridge.events.custom import CustomEvent, dead_letter, event
from rxbridge.events.identity import event_id
from rxbridge.events.mapping import SERVICE, to_event
from rxbridge.events.rules import EventRules, Rules
from rxbridge.events.schema import EncodedEvent, Event, encode

__all__ = [
    "SERVICE",
    "CustomEvent",
    "EncodedEvent",
    "Event",
    "EventRules",
    "Rules",
    "dead_letter",
    "encode",
    "event",
    "event_id",
    "to_event",
]
