"""A journal with trades, a delivery, and PulseStreams that lose what they have confirmed."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rxbridge.delivery import Delivery, refused
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import Journal
from rxbridge.messages import Frame
from rxbridge.progress import CONSUMER
from rxbridge.pulsestream import BatchAnswer, EventOutcome, PulseStreamClient, PulseStreamSink
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.telemetry.statistics import DeliveryStatistics

CHANNELS = ("matches",)
HEARTBEAT = b'{"type":"heartbeat","product_id":"BTC-USD"}'
TORN = b'{"type":"match'


def match(trade: int, product: str = "BTC-USD") -> bytes:
    fields = {"type": "match", "trade_id": trade, "product_id": product, "price": "1", "size": "1"}
    return json.dumps(fields).encode()


def event_id(trade: int, product: str = "BTC-USD") -> str:
    return f"coinbase-{product}-match-{trade}"


def append(journal: Journal, contents: Iterable[bytes], connection: int = 1) -> None:
    for index, data in enumerate(contents):
        journal.append(Frame(data=data, received_at=time.time_ns(), connection=connection, index=index))
    assert journal.flush(10)


def deliver(journal: Journal, server: EmbeddedPulseStream, key: str, *, batch_count: int = 100) -> DeliveryStatistics:
    """Deliver what is in the journal, as the bridge does, and acknowledge it."""
    statistics = DeliveryStatistics()
    stop = threading.Event()
    with PulseStreamClient(server.url, key) as client:
        delivery = Delivery(
            journal,
            lambda progress: PulseStreamSink(
                client, settled=progress.settled, refused=refused(progress), stop=stop, statistics=statistics
            ),
            channels=CHANNELS,
            rules=EventRules("test"),
            batch_count=batch_count,
            # Never reached, so that batches are full on a slow machine as well; the drain sends the last one.
            batch_seconds=600,
            batch_bytes=1_000_000,
            statistics=statistics,
        )
        delivery.start()
        assert delivery.drain(60)
    assert journal.cursor(CONSUMER) == journal.size().last_offset
    return statistics


class Losses:
    """What a server does with requests that bring events: by default, what it should.

    Attributes:
        loses: Says of the ids of a request whether it is answered with success and not stored.
        refuses: Ids that are refused for good.
        requests: The ids of each request.
    """

    def __init__(self) -> None:
        self.loses: Callable[[list[str]], bool] = lambda _ids: False
        self.refuses: set[str] = set()
        self.requests: list[list[str]] = []

    @property
    def middleware(self) -> list[Middleware]:
        return [Middleware(_Losing, losses=self)]


class _Losing:
    def __init__(self, app: ASGIApp, *, losses: Losses) -> None:
        self._app = app
        self._losses = losses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/events/batch"):
            await self._app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        ids = [event["event_id"] for event in json.loads(body)["events"]]
        self._losses.requests.append(ids)
        if self._losses.refuses.intersection(ids):
            await JSONResponse(_answer(ids, self._losses.refuses))(scope, receive, send)
            return
        if self._losses.loses(ids):
            await JSONResponse(_answer(ids))(scope, receive, send)
            return

        async def replay() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


def _answer(ids: list[str], refused: set[str] = frozenset()) -> dict[str, Any]:  # pyright: ignore[reportArgumentType]
    bad = [identity in refused for identity in ids]
    return {
        "total_events": len(ids),
        "successful_events": len(ids) - sum(bad),
        "failed_events": sum(bad),
        "results": [
            {
                "success": not refuse,
                "event_id": identity,
                "message": "Validation error: title" if refuse else "Event ingested successfully",
                "errors": ["title: too odd"] if refuse else None,
            }
            for identity, refuse in zip(ids, bad, strict=True)
        ],
    }


class FakePulseStream(PulseStreamClient):
    """A client and its server in one, in a time of its own: what it stores shows after `commit_seconds`.

    An event that comes again before that has two rows, as on the real one. `lost` says of each request, in turn,
    whether it is lost.
    """

    def __init__(self, clock: Callable[[], float], commit_seconds: float, lost: Sequence[bool] = ()) -> None:
        super().__init__("http://127.0.0.1:9", "key")
        self._clock = clock
        self._commit_seconds = commit_seconds
        self._lost = list(lost)
        self.rows: Counter[str] = Counter()
        self.posted: list[list[EncodedEvent]] = []
        self._shown_at: dict[str, float] = {}

    def post_batch(self, events: Sequence[EncodedEvent]) -> BatchAnswer:
        self.posted.append(list(events))
        now = self._clock()
        lost = bool(self._lost) and self._lost.pop(0)
        outcomes: list[EventOutcome] = []
        for event in events:
            if self._shown_at.get(event.event_id, float("inf")) <= now:
                outcomes.append(EventOutcome("already_stored"))
                continue
            outcomes.append(EventOutcome("stored"))
            if not lost:
                self.rows[event.event_id] += 1
                self._shown_at.setdefault(event.event_id, now + self._commit_seconds)
        return BatchAnswer(tuple(outcomes), now, now)
