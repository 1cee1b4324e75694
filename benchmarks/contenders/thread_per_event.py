"""(c) A thread and a POST for each event, as many bridges do it.

python -m benchmarks.contenders.thread_per_event FEED_URL SINK_URL
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import requests
import websocket

from benchmarks.contenders.mapping import to_event
from benchmarks.frames import subscription


def main() -> None:
    address = f"{sys.argv[2]}/api/v1/ingestion/events"
    feed = websocket.create_connection(sys.argv[1], skip_utf8_validation=True)
    feed.send(subscription(["ticker"]))
    while True:
        message = json.loads(feed.recv())
        if message["type"] == "ticker":
            threading.Thread(target=post, args=(address, to_event(message)), daemon=True).start()


def post(address: str, event: dict[str, Any]) -> None:
    """Send one event; what fails is lost, with a traceback."""
    requests.post(address, json=event, headers={"X-API-Key": "benchmark"}, timeout=30).raise_for_status()


if __name__ == "__main__":
    main()
