"""`rxbridge dead-letters`, as a user meets it, beside a journal that is in use."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxbridge.confirmation import EventMaker
from rxbridge.events import EventRules
from rxbridge.journal import DeadLetter, SqliteJournal
from rxbridge.journal.locks import RoleLock
from rxbridge.progress import CONSUMER
from rxbridge.pulsestream_server import EmbeddedPulseStream
from tests.rxbridge.confirmation.support import CHANNELS, HEARTBEAT, TORN, append, event_id, match

Start = Callable[..., Any]
FORGED = b'{"type":"match"\x1b[2J\x07\xc2\x9bforged\n\x7f'
NOT_TEXT = b"\xff\xfe{"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """One that a bridge has open: five frames, all acknowledged; letters of the first four."""
    with SqliteJournal(tmp_path / "letters.journal") as journal:
        append(journal, [match(1), match(2), FORGED, NOT_TEXT, HEARTBEAT])
        make = EventMaker(channels=CHANNELS, rules=EventRules("test"))
        now = time.time_ns()
        for frame in journal.read(0, 2):
            for event in make(frame):
                reason = "title: too odd [bold]" if frame.offset == 1 else "Rejected for\nanother reason"
                letter = DeadLetter(frame.offset, event.event_id, "deliver", reason, event.body, 10**18, now, 3)
                journal.add_dead_letters([letter])
        old = 1_700_000_000 * 10**9
        journal.add_dead_letters([DeadLetter(3, "", "parse", "malformed \x1b[31mframe", FORGED, old, old)])
        journal.add_dead_letters([DeadLetter(4, "", "parse", "not text", NOT_TEXT, old, old)])
        journal.acknowledge(CONSUMER, 5)
        yield journal


@pytest.fixture
def letters(command: Start, journal: SqliteJournal, tmp_path: Path) -> Callable[..., Any]:
    """Runs a command on that journal to its end."""

    def run(name: str, *arguments: object, code: int = 0, **environment: str) -> Any:
        started = command("dead-letters", name, "--journal", tmp_path / "letters.journal", *arguments, **environment)
        assert started.wait() == code, started.stderr
        return started

    return run


@pytest.fixture
def delivering(pulsestream: EmbeddedPulseStream, pulsestream_key: str) -> dict[str, str]:
    """Where events go, without a wait before they are looked for."""
    return {
        "PULSESTREAM_API_URL": pulsestream.url,
        "PULSESTREAM_API_KEY": pulsestream_key,
        "RXBRIDGE_DELIVERY_CONFIRM_AFTER_SECONDS": "0.01",
    }


def keys(journal: SqliteJournal) -> list[tuple[int, str]]:
    return [(letter.offset, letter.event_id) for letter in journal.dead_letters()]


def control_characters(text: str) -> set[str]:
    return {character for character in text if not character.isprintable() and character not in "\n\t"}


def test_the_list_has_a_line_a_letter(letters: Start) -> None:
    header, *lines = letters("list").stdout.splitlines()

    assert header.split("\t") == ["key", "stage", "last attempt", "attempts", "reason"]
    cells = [line.split("\t") for line in lines]
    assert [row[0] for row in cells] == [f"1:{event_id(1)}", f"2:{event_id(2)}", "3", "4"]
    assert cells[0][1:2] + cells[0][3:] == ["deliver", "3", "title: too odd [bold]"]
    assert cells[2][2:] == ["2023-11-14T22:13:20Z", "1", "malformed \\x1b[31mframe"]
    assert cells[1][4] == "Rejected for\\nanother reason"


@pytest.mark.parametrize(
    ("options", "offsets"),
    [
        (("--stage", "parse"), [3, 4]),
        (("--reason", "REJECTED"), [2]),
        (("--since", "1h"), [1, 2]),
        (("--since", "2023-11-14T22:13:21"), [1, 2]),
        (("--since", "2023-11-14T23:13:20+01:00"), [1, 2, 3, 4]),
        (("--limit", "3"), [1, 2, 3]),
        (("--stage", "parse", "--reason", "text"), [4]),
        (("--stage", "map"), []),
    ],
)
def test_filters_choose(letters: Start, options: tuple[str, ...], offsets: list[int]) -> None:
    listed = letters("list", "--json", *options)
    assert [json.loads(line)["offset"] for line in listed.stdout.splitlines()] == offsets


def test_what_is_not_listed_is_told_of(letters: Start) -> None:
    assert "and 2 more" in letters("list", "--limit", 2).stderr
    assert letters("list", "--stage", "map").stdout == "there is no dead letter that fits\n"


def test_wrong_filters_are_wrong_usage(letters: Start) -> None:
    assert "neither an age" in letters("list", "--since", "yesterday", code=2).stderr
    letters("list", "--stage", "nowhere", code=2)
    letters("retry", "no-offset", code=2)
    assert "no dead letter of this key" in letters("show", "99", code=2).stderr


def test_show_lays_out_what_it_is(letters: Start) -> None:
    shown = letters("show", f"1:{event_id(1)}").stdout
    assert f"event id       {event_id(1)}\n" in shown
    assert "first attempt  2001-09-09T01:46:40Z\n" in shown
    assert f'  "event_id": "{event_id(1)}",\n' in shown


@pytest.mark.parametrize(
    ("key", "content"), [(3, '{"type":"match"\\x1b[2J\\x07\\x9bforged\\n\\x7f'), (4, "\\xff\\xfe{")]
)
def test_nothing_that_is_shown_can_forge_a_terminal(letters: Start, key: int, content: str) -> None:
    shown = letters("show", key).stdout
    assert control_characters(shown) == set()
    assert "(it never became an event)" in shown
    assert shown.splitlines()[-1] == content
    assert control_characters(letters("list").stdout) == set()


def test_json_with_control_characters_in_it_is_shown_escaped(journal: SqliteJournal, letters: Start) -> None:
    content = json.dumps({"title": "\x1b]0;forged\x07 \x9b \x7f"}, ensure_ascii=False).encode()
    journal.add_dead_letters([DeadLetter(5, "odd", "deliver", "bad", content, 1, 1)])
    shown = letters("show", "5:odd").stdout
    assert control_characters(shown) == set()
    assert "\\u001b]0;forged\\u0007 \\u009b \\u007f" in shown


def test_export_keeps_every_byte(letters: Start, journal: SqliteJournal, tmp_path: Path) -> None:
    assert "4 dead letters written" in letters("export", "out.jsonl").stderr
    in_file = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert letters("export", "-").stdout == in_file

    lines = [json.loads(line) for line in in_file.splitlines()]
    contents = [
        base64.b64decode(line["content"]) if line["encoding"] == "base64" else line["content"].encode()
        for line in lines
    ]
    assert contents == [letter.content for letter in journal.dead_letters()]
    assert [line["encoding"] for line in lines] == ["text", "text", "text", "base64"]
    assert lines[2]["reason"] == "malformed \x1b[31mframe"
    assert not list(tmp_path.glob("*.draft"))

    letters("export", "absent/out.jsonl", code=2)


def test_retry_delivers_what_it_can_and_the_audit_is_exact(
    letters: Start, journal: SqliteJournal, command: Start, delivering: dict[str, str], tmp_path: Path
) -> None:
    retried = letters("retry", code=1, **delivering)
    assert retried.stdout == "2 delivered, 2 failed again; 2 dead letters remain\n"
    assert keys(journal) == [(3, ""), (4, "")]
    assert [letter.attempts for letter in journal.dead_letters()] == [2, 2]

    verify = command("verify", "--json", "--journal", tmp_path / "letters.journal", **delivering)
    assert verify.wait() == 0, verify.stderr
    audit = json.loads(verify.stdout)
    assert [audit[name] for name in ("received", "delivered", "stored", "dead", "duplicates")] == [4, 2, 2, 2, 0]

    assert letters("retry", 3, 4, code=1, **delivering).stdout == "0 delivered, 2 failed again; 2 dead letters remain\n"


def test_retry_of_chosen_ones_leaves_the_others(
    letters: Start, journal: SqliteJournal, delivering: dict[str, str]
) -> None:
    assert letters("retry", f"2:{event_id(2)}", **delivering).stdout.startswith("1 delivered, 0 failed")
    assert keys(journal) == [(1, event_id(1)), (3, ""), (4, "")]
    assert letters("retry", "--reason", "odd", **delivering).stdout.startswith("1 delivered, 0 failed")
    assert keys(journal) == [(3, ""), (4, "")]


def test_letters_in_the_hands_of_the_delivery_are_left_alone(
    letters: Start, journal: SqliteJournal, delivering: dict[str, str]
) -> None:
    append(journal, [TORN])
    journal.add_dead_letters([DeadLetter(6, "", "parse", "torn", TORN, 1, 1)])

    retried = letters("retry", 6, **delivering)
    assert retried.stdout == "0 delivered, 0 failed again; 5 dead letters remain\n"
    assert "1 letters are still in the hands of the delivery" in retried.stderr
    assert letters("purge", 6, "--yes").stdout == "there is no dead letter that fits\n"
    assert (6, "") in keys(journal)


def test_retry_without_a_server_changes_nothing(
    letters: Start, journal: SqliteJournal, delivering: dict[str, str], pulsestream: EmbeddedPulseStream
) -> None:
    before = list(journal.dead_letters())
    letters("retry", code=77, **(delivering | {"PULSESTREAM_API_KEY": "wrong"}))
    pulsestream.stop()
    letters("retry", code=69, **delivering)
    assert list(journal.dead_letters()) == before


def test_one_maintainer_at_a_time(letters: Start, delivering: dict[str, str], tmp_path: Path) -> None:
    lock = RoleLock(tmp_path / "letters.journal", "maintain")
    assert "already maintains it" in letters("retry", code=69, **delivering).stderr
    assert "already maintains it" in letters("purge", "--yes", code=69).stderr
    assert letters("list").stdout.count("\n") == 5
    lock.release()
    letters("purge", "--yes")


def test_purge_asks_first(letters: Start, journal: SqliteJournal) -> None:
    refused = letters("purge", code=1)
    assert "Purge 4 dead letters? Their events are gone for good" in refused.stderr
    assert len(keys(journal)) == 4


def test_what_was_purged_counts_as_dropped(
    letters: Start, journal: SqliteJournal, command: Start, delivering: dict[str, str], tmp_path: Path
) -> None:
    assert letters("purge", "--yes", "--stage", "parse").stdout == "2 purged; 2 dead letters remain\n"
    assert letters("purge", 1, "--yes").stdout == "1 purged; 1 dead letters remain\n"
    assert keys(journal) == [(2, event_id(2))]

    verify = command("verify", "--json", "--journal", tmp_path / "letters.journal", **delivering)
    assert verify.wait() == 0, verify.stderr
    audit = json.loads(verify.stdout)
    assert [audit[name] for name in ("received", "dead", "dropped", "purged", "missing")] == [4, 1, 3, 3, 0]


def test_without_letters_each_says_so(command: Start, tmp_path: Path) -> None:
    SqliteJournal(tmp_path / "empty.journal").close()
    for arguments in (("list",), ("purge", "--yes")):
        started = command("dead-letters", *arguments, "--journal", "empty.journal")
        assert started.wait() == 0
        assert started.stdout == "there is no dead letter\n"
    absent = command("dead-letters", "list", "--journal", "absent")
    assert absent.wait() == 78
    assert "there is no journal" in absent.stderr
