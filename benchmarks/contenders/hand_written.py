"""(b) A hand-written loop: websocket-client, json, batches, requests.Session; what is in memory dies with it.

    python -m benchmarks.contenders.hand_written FEED_URL SINK_URL

It does not read while it posts. That costs it nothing here, as the sender waits; Coinbase would drop it for that.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import requests
import websocket

from benchmarks.contenders.mapping import to_event
from benchmarks.frames import subscription

BATCH_COUNT = 100
BATCH_SECONDS = 0.25
"""Measured from a batch's first event, as rxbridge's default."""


def main() -> None:
    address = f"{sys.argv[2]}/api/v1/ingestion/events/batch"
    session = requests.Session()
    session.headers["X-API-Key"] = "benchmark"
    feed = websocket.create_connection(sys.argv[1], skip_utf8_validation=True)
    feed.send(subscription(["ticker"]))
    batch: list[dict[str, Any]] = []
    due = 0.0
    while True:
        feed.settimeout(max(due - time.monotonic(), 0.001) if batch else None)
        try:
            message = json.loads(feed.recv())
        except websocket.WebSocketTimeoutException:
            message = None
        if message is not None and message["type"] == "ticker":
            if not batch:
                due = time.monotonic() + BATCH_SECONDS
            batch.append(to_event(message))
        if batch and (len(batch) >= BATCH_COUNT or time.monotonic() >= due):
            post(session, address, batch)
            batch = []


def post(session: requests.Session, address: str, batch: list[dict[str, Any]]) -> None:
    """Send a batch and look at the answer; an error ends the program."""
    answer = session.post(address, json={"events": batch}, timeout=30)
    answer.raise_for_status()
    if answer.json()["failed_events"]:
        raise RuntimeError(answer.text)


if __name__ == "__main__":
    main()
