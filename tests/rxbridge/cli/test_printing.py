"""What commands print of things from outside."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.cli.letter_forms import pretty
from rxbridge.cli.printing import moment, plain, print_table, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_content_leaves_a_control_character(content: bytes) -> None:
    for text in (pretty(content), plain(content)):
        assert all(character.isprintable() or character == "\n" for character in text)


def test_content_without_end_is_cut() -> None:
    assert len(pretty(b"x" * 100_000)) < 20_010
    assert len(pretty(b"[" + b"1," * 50_000 + b"1]")) < 20_010
    assert pretty(b"[" * 100_000).startswith("[[[")


def test_a_table_on_a_terminal_keeps_what_stands_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    print_table(("key", "reason"), [("1", "[bold]odd[/bold]")])
    assert "[bold]odd[/bold]" in terminal.getvalue()
    assert "\t" not in terminal.getvalue()


def test_a_bar_shows_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress("auditing") as report:
            report("journal", 3, 10)
            report("journal", 11, 10)
        assert ("auditing journal" in stream.getvalue()) is shown


def test_a_time_that_cannot_be_is_a_number() -> None:
    assert moment(10**18) == "2001-09-09T01:46:40Z"
    assert moment(10**18 + 1_999_999, milliseconds=True) == "2001-09-09T01:46:40.001Z"
    assert moment(10**40) == str(10**40)
