"""PulseStream's records, and how a message becomes one."""

from rxbridge.events.identity import event_id
from rxbridge.events.mapping import SERVICE, to_event
from rxbridge.events.rules import EventRules
from rxbridge.events.schema import EncodedEvent, Event, encode

__all__ = ["SERVICE", "EncodedEvent", "Event", "EventRules", "encode", "event_id", "to_event"]
