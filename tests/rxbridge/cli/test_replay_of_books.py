"""Replays with order books that were killed: the books are those of all frames before, or nothing goes on."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from rxbridge.pulsestream_server import EmbeddedPulseStream

KEY = "a-key-that-must-not-leak"
UPDATES = 400
START = 1_700_000_000


def book(path: Path) -> Path:
    """A snapshot, and an update every half a second, of which each changes the best bid."""
    with path.open("w", encoding="utf-8") as lines:
        for number in range(UPDATES + 1):
            content: dict[str, Any] = {"type": "l2update", "changes": [["buy", "9", str(number)]]}
            if number == 0:
                content = {"type": "snapshot", "bids": [["9", "1000"]], "asks": [["10", "1"]]}
            data = json.dumps({**content, "product_id": "BTC-USD"})
            lines.write(json.dumps({"ts": START + number / 2, "data": data}) + "\n")
    return path


def bids(database: Path) -> list[str]:
    """What was bid, image by image."""
    query = "SELECT payload FROM events WHERE external_id LIKE '%-book-%'"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        images = [json.loads(body)["custom_data"] for (body,) in connection.execute(query)]
    return [image["bids"][0][1] for image in images]


def test_one_that_was_killed_makes_all_images_or_says_that_it_cannot(
    command: Callable[..., Any], wait_for: Callable[..., None], tmp_path: Path
) -> None:
    path, database = book(tmp_path / "book.jsonl"), tmp_path / "stored.sqlite"

    def replay(server: EmbeddedPulseStream, *more: object, **settings: str) -> Any:
        reach = ["--channels", "level2", "--pulsestream-url", server.url]
        return command("replay", path, *reach, *more, PULSESTREAM_API_KEY=KEY, **settings)

    with EmbeddedPulseStream(database=str(database), api_key=KEY, rate_limit=0) as server:
        whole = replay(server, "--journal", "whole.journal")
        assert whole.wait() == 0, whole.stderr
    expected = bids(database)
    assert len(expected) >= UPDATES // 2 - 1
    database.unlink()

    with EmbeddedPulseStream(database=str(database), api_key=KEY, rate_limit=0) as server:
        few = {"RXBRIDGE_JOURNAL_KEEP_BYTES": "1000"}  # which is for what is live
        killed = replay(server, "--speed", "10", **few)
        wait_for(lambda: len(bids(database)) >= 20)
        killed.send(signal.SIGKILL)
        killed.wait()
        again = replay(server, **few)
        assert again.wait() == 0, again.stderr
        assert sorted(bids(database)) == sorted(expected)

        # Where the journal has no room for what is delivered, there is nothing to make them of.
        small = {"RXBRIDGE_JOURNAL_MAX_BYTES": "12000"}
        killed = replay(server, "--journal", "small.journal", **small)
        assert killed.wait() == 0, killed.stderr
        refused = replay(server, "--journal", "small.journal", **small)
        assert refused.wait() == 78
        assert "has had no room for the first frames, of which the books are made" in refused.stderr
        assert "raise journal.max_bytes" in refused.stderr
