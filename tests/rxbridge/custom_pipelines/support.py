"""Trades with times of their own, and a delivery that runs users' pipelines and can be killed."""

import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from rxbridge.custom_pipelines import Pipeline, Pipelines
from rxbridge.custom_pipelines.loading import Build
from rxbridge.delivery import Delivery
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import Journal
from rxbridge.messages import Frame
from rxbridge.progress import Progress
from rxbridge.telemetry.statistics import DeliveryStatistics

START = 1_700_000_000


def trade(number: int, seconds: float, product: str = "BTC-USD", size: str = "1") -> bytes:
    """A trade that happened so long after the start."""
    whole = int(START + seconds)
    time = f"2023-11-14T{22 + (whole - 1699999200) // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}.5Z"
    fields = {"type": "match", "trade_id": number, "product_id": product, "price": "1", "size": size, "time": time}
    return json.dumps(fields).encode()


def append(journal: Journal, contents: Iterable[bytes], seconds: float = 0.1) -> None:
    """Frames that were received so long after each other."""
    before = journal.size().last_offset
    for index, data in enumerate(contents, before):
        received_at = START * 10**9 + int(index * seconds * 1e9)
        journal.append(Frame(data=data, received_at=received_at, connection=1, index=index))
    assert journal.flush(10)


class KeepingSink:
    """Takes every event, or none after so many."""

    def __init__(self, progress: Progress, statistics: DeliveryStatistics, most: int | None = None) -> None:
        self.progress = progress
        self.statistics = statistics
        self.abandoned = False
        self.events: list[EncodedEvent] = []
        self.most = most
        self.is_full = threading.Event()

    def on_next(self, value: Sequence[EncodedEvent]) -> None:
        if self.most is not None and len(self.events) + len(value) > self.most:
            self.is_full.set()
            self.abandoned = True
            return
        self.events += value
        self.progress.settled(value)
        self.statistics.delivered += len(value)


class Half:
    """A delivery half with users' pipelines, up to its end."""

    def __init__(
        self,
        journal: Journal,
        *builds: Build,
        builtin: bool = False,
        most: int | None = None,
        is_stateful: bool = False,
        **options: Any,
    ) -> None:
        self.statistics = DeliveryStatistics()
        self.sinks: list[KeepingSink] = []
        custom = tuple(
            Pipeline(f"test:{number}", build, is_stateful=is_stateful) for number, build in enumerate(builds)
        )
        self.pipelines = Pipelines(builtin, custom)
        defaults: dict[str, Any] = {"batch_count": 1, "batch_seconds": 0.02, "batch_bytes": 1_000_000}
        self.delivery = Delivery(
            journal,
            lambda progress: self._sink(progress, most),
            channels=("matches",),
            rules=EventRules("test"),
            statistics=self.statistics,
            pipelines=self.pipelines,
            **(defaults | options),
        )

    def _sink(self, progress: Progress, most: int | None) -> KeepingSink:
        self.sinks.append(KeepingSink(progress, self.statistics, most))
        return self.sinks[0]

    @property
    def sink(self) -> KeepingSink:
        return self.sinks[0]

    @property
    def events(self) -> list[EncodedEvent]:
        return self.sink.events

    def run(self) -> bool:
        """Deliver what there is; whether that was all."""
        self.delivery.start()
        return self.delivery.drain(20)

    def contents(self) -> dict[str, Any]:
        """The payloads by the events' ids."""
        return {event.event_id: json.loads(event.body)["payload"] for event in self.events}
