"""The sink: an HTTP server that says to each event what PulseStream says, and notes when each came first.

    python -m benchmarks.sink COUNT

Tells its port, then that COUNT different events are in. At a line on its standard input it tells all it saw. It keeps
connections alive, finds the event ids without parsing the JSON, and does one thing at a time, so that it takes a
small part of the time of what is measured.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

from benchmarks.frames import FIRST_TRADE_ID
from benchmarks.pipes import tell

_READ_BYTES = 1 << 18
_IMAGE = b"-book-"
"""What the ids of images of order books have in them; they are taken, and not counted."""

_EVENT_ID = b'"event_id":'
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_STORED = (
    b'{"success":true,"event_id":"%b","ingested_at":"2026-01-01T00:00:00","processing_status":"queued",'
    b'"message":"Event ingested successfully","errors":null}'
)
_RESULT = b'{"success":true,"event_id":"%b","message":"Event ingested successfully","errors":null}'
_BATCH = (
    b'{"batch_id":"batch","total_events":%d,"successful_events":%d,"failed_events":0,"processing_status":"completed",'
    b'"results":[%b]}'
)
_LIMIT = b'{"limit":100}'


class Ledger:
    """Which events came, and when."""

    def __init__(self, expected: int) -> None:
        self.first_seen: dict[bytes, float] = {}
        self.events = 0
        self.requests = 0
        self._expected = expected
        self._complete = False

    def enter(self, ids: list[bytes], now: float) -> None:
        """Note the events of a request, and tell when all have come."""
        self.requests += 1
        ids = [name for name in ids if _IMAGE not in name]
        self.events += len(ids)
        for name in ids:
            self.first_seen.setdefault(name, now)
        if not self._complete and len(self.first_seen) >= self._expected:
            self._complete = True
            tell(complete=now)

    def report(self) -> None:
        """Tell which trades came, by their number from 0, when, and how many events came again."""
        numbers = [int(name.rpartition(b"-")[2]) - FIRST_TRADE_ID for name in self.first_seen]
        tell(
            numbers=numbers,
            times=list(self.first_seen.values()),
            repeated=self.events - len(self.first_seen),
            requests=self.requests,
        )


class Connection:
    """One client: gathers bytes to requests and answers each."""

    def __init__(self, connection: socket.socket, ledger: Ledger) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._ledger = ledger
        self._buffer = bytearray()

    def serve(self) -> bool:
        """Take what has come; False when the client is gone."""
        try:
            data = self.socket.recv(_READ_BYTES)
            self._buffer += data
            while (request := self._next_request()) is not None:
                self.socket.sendall(self._answer(*request))
        except ConnectionError:
            return False
        return bool(data)

    def _next_request(self) -> tuple[bytes, bytes] | None:
        """The request line and the body, once they are whole."""
        header_end = self._buffer.find(b"\r\n\r\n")
        if header_end < 0:
            return None
        line, *fields = bytes(self._buffer[:header_end]).split(b"\r\n")
        length = 0
        for field in fields:
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        end = header_end + 4 + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[header_end + 4 : end])
        del self._buffer[:end]
        return line, body

    def _answer(self, line: bytes, body: bytes) -> bytes:
        now = time.monotonic()
        method, path, _ = line.split(b" ")
        if method == b"POST" and path.startswith(b"/api/v1/ingestion/events"):
            ids = event_ids(body)
            self._ledger.enter(ids, now)
            if path.endswith(b"/batch"):
                content = _BATCH % (len(ids), len(ids), b",".join([_RESULT % name for name in ids]))
            else:
                content = _STORED % ids[0]
        elif path == b"/health":
            content = b'{"status":"healthy"}'
        elif path == b"/api/v1/ingestion/rate-limit":
            content = _LIMIT
        else:
            return _NOT_FOUND
        return _OK % (len(content), content)


def event_ids(body: bytes) -> list[bytes]:
    """The values of all keys `event_id`, in order."""
    return [part[: part.index(b'"', 2)].strip(b' "') for part in body.split(_EVENT_ID)[1:]]


def main() -> None:
    ledger = Ledger(int(sys.argv[1]))
    with selectors.DefaultSelector() as selector, socket.create_server(("127.0.0.1", 0), backlog=4096) as server:

        def accept() -> None:
            connection = Connection(server.accept()[0], ledger)

            def serve() -> None:
                if not connection.serve():
                    selector.unregister(connection.socket)
                    connection.socket.close()

            selector.register(connection.socket, selectors.EVENT_READ, serve)

        def command() -> None:
            if not sys.stdin.readline():
                sys.exit()
            ledger.report()

        selector.register(server, selectors.EVENT_READ, accept)
        selector.register(sys.stdin, selectors.EVENT_READ, command)
        tell(port=server.getsockname()[1])
        while True:
            for key, _ in selector.select():
                key.data()


if __name__ == "__main__":
    main()
