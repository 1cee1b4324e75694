"""Any Observable to any sink, on threads of its own: `connect(observable).to(sink)`."""

from rxbridge.connecting.connection import Connection, ConnectionStatistics
from rxbridge.connecting.plug import Plug, connect
from rxbridge.connecting.pulsestream import PulseStream
from rxbridge.connecting.rows import Rows

__all__ = ["Connection", "ConnectionStatistics", "Plug", "PulseStream", "Rows", "connect"]
