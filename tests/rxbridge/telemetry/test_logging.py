"""Log lines: forms, secrets, forgery, floods."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from rxbridge.telemetry.logging import Throttle, configure, log_uncaught


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A stream that the log goes to, and the state of both logging libraries restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    logging.captureWarnings(capture=False)
    logger.remove()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_a_line_is_a_json_object(log: io.StringIO) -> None:
    configure(stream=log)

    logger.bind(product="BTC-USD").info("[OK] {} frames", 3)

    (line,) = lines(log)
    assert (line["level"], line["message"], line["product"]) == ("info", "[OK] 3 frames", "BTC-USD")


def test_debug_lines_need_verbose(log: io.StringIO) -> None:
    configure(stream=log)
    logger.debug("quiet")
    configure(stream=log, verbose=True)
    logger.debug("loud")

    assert [line["message"] for line in lines(log)] == ["loud"]


def test_a_secret_is_hidden_in_messages_fields_and_tracebacks(log: io.StringIO) -> None:
    secret = 'hu"sh\\hush'
    configure(stream=log, secrets=(secret,))

    try:
        int(secret)
    except ValueError:
        logger.bind(header=secret).exception("with {}", secret)

    assert "hush" not in log.getvalue()
    (line,) = lines(log)
    assert line["message"] == "with (hidden)"
    assert "ValueError" in line["exception"]


def test_the_values_of_local_variables_are_never_shown(log: io.StringIO) -> None:
    configure(stream=log, form="pretty")

    def fail(key: str) -> None:
        raise ValueError(len(key))

    try:
        fail("a-local-key")
    except ValueError:
        logger.exception("failed")

    assert "ValueError: 11" in log.getvalue()
    assert log.getvalue().count("a-local-key") == 1  # the source line of the call, not the variable


@pytest.mark.parametrize("form", ["pretty", "json"])
def test_text_from_outside_cannot_forge_a_line(log: io.StringIO, form: Any) -> None:
    configure(stream=log, form=form)

    logger.info("[ALERT] {}", "x\n[OK] forged\r\x1b[2K\u2028<red>{braces}")

    (line,) = log.getvalue().splitlines()
    assert "\x1b" not in line
    assert "<red>{braces}" in line


def fail(error: Exception) -> None:
    raise error


HOSTILE = "x\n00:00:00.000 SUCCESS  [OK] forged\r\x1b[2K\x9b1m\u2028\u202e\x85\x0b\x7f[OK] forged too"


@pytest.mark.parametrize("form", ["pretty", "json"])
def test_the_text_of_an_exception_cannot_forge_a_line_either(log: io.StringIO, form: Any) -> None:
    configure(stream=log, form=form)

    error = ValueError(HOSTILE)
    error.__cause__ = KeyError(HOSTILE)
    try:
        fail(error)
    except ValueError:
        logger.opt(exception=error).error("failed: {}", error)

    # Lines as a terminal breaks them, not as Python does.
    first, *others = log.getvalue().rstrip("\n").split("\n")
    assert "failed: x\\n00:00" in first.replace("\\\\", "\\")
    assert all(line.startswith("    | ") for line in others)
    assert bool(others) == (form == "pretty")
    assert all(character.isprintable() for line in (first, *others) for character in line)
    assert "ValueError" in log.getvalue()


def test_no_text_makes_a_line_without_end(log: io.StringIO) -> None:
    configure(stream=log)

    try:
        fail(ValueError("y" * 1_000_000))
    except ValueError:
        logger.exception("x" * 1_000_000)

    (line,) = lines(log)
    assert line["message"].endswith("(1,000,000 characters)")
    assert len(log.getvalue()) < 25_000


def test_an_exception_that_nobody_catches_is_a_line_like_others(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    configure(stream=log, secrets=("a-secret-that-is-told",))
    log_uncaught()

    thread = threading.Thread(target=fail, args=(ValueError(HOSTILE + "a-secret-that-is-told"),))
    thread.start()
    thread.join()

    (line,) = lines(log)
    assert line["level"] == "critical"
    assert line["message"].startswith("[FATAL] ValueError: x\\n00:00:00.000")
    assert "fail" in line["exception"]
    assert "that-is" not in log.getvalue()


def test_the_standard_library_s_lines_and_warnings_come_along(log: io.StringIO) -> None:
    configure(stream=log)

    logging.getLogger("urllib3").warning("retrying %s", "{now}")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert [(line["logger"], line["level"]) for line in lines(log)] == [
        ("urllib3", "warning"),
        ("py.warnings", "warning"),
    ]
    assert lines(log)[0]["message"] == "retrying {now}"


def test_a_stream_whose_reader_is_gone_does_not_end_the_caller(log: io.StringIO) -> None:
    configure(stream=log)
    log.close()

    logger.info("to nobody")


def record(name: str, line: int, level: int = logging.WARNING) -> Any:
    class Level:
        no = level

    return {"name": name, "line": line, "level": Level(), "extra": {"repeats": ""}}


def test_a_flood_is_told_once_in_the_time_with_a_count() -> None:
    now = 100.0
    throttle = Throttle(10.0, clock=lambda: now)

    told: list[str] = []
    for _ in range(50):
        now += 0.5
        entry = record("sink", 1)
        if throttle(entry):
            told.append(entry["extra"]["repeats"])

    assert told == ["", *[" (and 19 more like it since the last such line)"] * 2]


def test_floods_of_different_places_do_not_hide_each_other() -> None:
    throttle = Throttle(10.0, clock=lambda: 0.0)

    assert [throttle(record("sink", 1)), throttle(record("sink", 2)), throttle(record("feed", 1))] == [True] * 3


def test_information_is_never_throttled() -> None:
    throttle = Throttle(10.0, clock=lambda: 0.0)

    assert all(throttle(record("sink", 1, logging.INFO)) for _ in range(5))
