"""An embedded PulseStream: its ingestion API over SQLite, for demonstrations, tests and notebooks.

It answers as the real server was observed to answer, errors and oddities included; docs/embedded-pulsestream.md says
what it imitates and what it does not. Needs the extra `demo`.
"""

from rxbridge.pulsestream_server.application import create_application
from rxbridge.pulsestream_server.server import EmbeddedPulseStream, serve
from rxbridge.pulsestream_server.store import Store

__all__ = ["EmbeddedPulseStream", "Store", "create_application", "serve"]
