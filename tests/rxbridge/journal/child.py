"""What a test has other processes do; each line that they print is a promise that has been kept."""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from threading import Event

from rxbridge.errors import JournalError, JournalFull, JournalInUse
from rxbridge.journal import SqliteJournal, intake
from rxbridge.journal.sqlite import Role
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import eventually, frame, letter, numbers, read_all

FOREVER = 10**9


def _say(line: object) -> None:
    """Print a line in one piece, whatever other threads print."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def feed(path: Path, first: int, last: int = FOREVER) -> None:
    """Append frames, in groups, and print the number of the last that is confirmed."""
    journal = SqliteJournal(path, role="feed")
    number = first
    while number <= last:
        for _ in range(random.randrange(1, 400)):
            journal.append(frame(number, random.choice((60, 300, 3000))))
            number += 1
        assert journal.flush()
        _say(number - 1)
    journal.close()


def deliver(path: Path, target: Path, last: int) -> None:
    """Write the number of every frame to `target`, acknowledge, and end at the frame with the number `last`."""
    journal = SqliteJournal(path, role="deliver", keep_bytes=0)
    stop = Event()
    with target.open("a") as file:
        waiting: list[Frame] = []

        def on_next(item: Frame) -> None:
            waiting.append(item)
            if len(waiting) < 100 and item.index < last:
                return
            file.write("".join(f"{number}\n" for number in numbers(waiting)))
            file.flush()
            journal.acknowledge("target", item.offset)
            waiting.clear()
            if item.index >= last:
                stop.set()

        done = Event()
        journal.frames(journal.cursor("target"), stop=stop).subscribe(on_next, on_completed=done.set)
        done.wait()
    journal.close()


def both(path: Path) -> None:
    """Append, acknowledge and write dead letters at the same time; print what is confirmed of each."""
    journal = SqliteJournal(path, max_bytes=2_000_000, keep_bytes=200_000)

    def acknowledge() -> None:
        while True:
            last = journal.size().last_offset
            offset = random.randint(max(journal.cursor("reader"), 1), last)
            journal.acknowledge("reader", offset)
            journal.add_dead_letters([letter(offset, "event")])
            _say(f"acknowledged {offset}")

    number = journal.size().last_offset + 1
    journal.append(frame(number))
    assert journal.flush()
    threading.Thread(target=acknowledge, daemon=True).start()
    while True:
        for _ in range(random.randrange(1, 200)):
            number += 1
            journal.append(frame(number, 300))
        assert journal.flush()
        _say(f"confirmed {number}")


def hold(path: Path, role: Role) -> None:
    """Take a role, and keep it until a line comes in."""
    try:
        journal = SqliteJournal(path, role=role)
    except JournalInUse as error:
        _say(error)
        return
    _say("held")
    sys.stdin.readline()
    journal.close()


def small_disk(path: Path) -> None:
    """Fill the disk, append, make room again; print what happened as JSON."""

    def fill() -> None:
        with suppress(OSError), path.with_name("ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    _fill_and_empty(path, fill, lambda: os.truncate(path.with_name("ballast"), 0))


def small_files(path: Path) -> None:
    """Forbid files to grow, append, permit it again; print what happened as JSON."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    _fill_and_empty(
        path,
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard)),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)),
    )


def _fill_and_empty(path: Path, fill: object, empty: object) -> None:
    assert callable(fill)
    assert callable(empty)
    intake._TASK_PATIENCE_SECONDS = 0.5
    problems: list[JournalError] = []
    journal = SqliteJournal(path, problem=problems.append)
    for number in range(1, 201):
        journal.append(frame(number, 1000))
    assert journal.flush(30)
    fill()
    for number in range(201, 3001):
        journal.append(frame(number, 1000))
    eventually(lambda: problems)
    refused = False
    try:
        journal.add_dead_letters([letter(1, str(number)) for number in range(50_000)])
    except JournalFull:
        refused = True
    confirmed = journal.size().last_offset
    readable = numbers(read_all(journal)) == list(range(1, confirmed + 1))
    empty()
    flushed = journal.flush(30)
    journal.acknowledge("reader", 3000)
    _say(
        json.dumps(
            {
                "problems": [type(problem).__name__ for problem in problems],
                "refused": refused,
                "confirmed": confirmed,
                "readable": readable,
                "flushed": flushed,
                "letters": sum(1 for _ in journal.dead_letters()),
                "whole": numbers(read_all(journal)) == list(range(1, 3001)),
                "gaps": sum(1 for _ in journal.gaps()),
            }
        )
    )
    journal.close()


if __name__ == "__main__":
    command, where, *rest = sys.argv[1:]
    if command == "feed":
        feed(Path(where), *map(int, rest))
    elif command == "deliver":
        deliver(Path(where), Path(rest[0]), int(rest[1]))
    elif command == "both":
        both(Path(where))
    elif command == "hold":
        hold(Path(where), rest[0])  # pyright: ignore[reportArgumentType]
    elif command == "small_disk":
        small_disk(Path(where))
    else:
        small_files(Path(where))
