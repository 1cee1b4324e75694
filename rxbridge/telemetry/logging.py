"""Log lines on standard error: pretty on a terminal, JSON elsewhere, without keys, forged lines or floods."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

from loguru import logger

from rxbridge.telemetry.redaction import Redactor

if TYPE_CHECKING:
    from loguru import Message, Record

_PRETTY = "<dim>{time:HH:mm:ss.SSS}</dim> <level>{level: <8}</level> {message}{extra[repeats]}{extra[trace]}\n"
_LONGEST_TEXT = 10_000
"""Characters of a message, or of a traceback, that are written."""


class LogStream(Protocol):
    """Where log lines go."""

    def write(self, text: str, /) -> int:
        """Write some text."""
        ...

    def flush(self) -> None:
        """Hand on what was written."""
        ...

    def isatty(self) -> bool:
        """Whether someone looks at it."""
        ...


def configure(
    *,
    verbose: bool = False,
    form: Literal["auto", "pretty", "json"] = "auto",
    secrets: tuple[str, ...] = (),
    repeat_seconds: float = 10.0,
    stream: LogStream | None = None,
) -> None:
    """Send every log line of the process, those of the standard library's `logging` included, to one place.

    Args:
        verbose: Also the lines of level debug, such as one for every event.
        form: `auto` is pretty on a terminal and JSON lines elsewhere.
        secrets: Texts that must not appear; each is replaced wherever it turns up, tracebacks included.
        repeat_seconds: A warning or an error from the same place is told once in this time, with a count.
        stream: Where to; standard error if None.
    """
    target: LogStream = sys.stderr if stream is None else stream
    pretty = form == "pretty" or (form == "auto" and target.isatty())
    redact = Redactor(secrets)

    def write(message: Message) -> None:
        line = str(message) if pretty else _json_line(message.record)
        try:
            target.write(redact(line))
            target.flush()
        except (OSError, ValueError):
            # Whoever read our lines is gone. That must not end the delivery; there is nowhere left to say it.
            return

    logger.remove()
    logger.configure(patcher=_escape_control_characters, extra={"repeats": "", "trace": ""})
    logger.add(
        write,
        level="DEBUG" if verbose else "INFO",
        format=_pretty if pretty else _plain,
        colorize=pretty and target.isatty(),
        filter=Throttle(repeat_seconds),
        # Never the values of local variables: a key may be among them.
        diagnose=False,
        backtrace=False,
    )
    logging.basicConfig(handlers=[_Intercept()], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)


class Throttle:
    """Lets a warning or an error from one place of the code through once in `seconds`, and says how many were not."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[tuple[str | None, int], tuple[float, int]] = {}

    def __call__(self, record: Record) -> bool:
        """Whether the line is to be written; a line that is carries the count of those before it that were not."""
        if record["level"].no < logging.WARNING:
            return True
        place = (record["name"], record["line"])
        now = self._clock()
        with self._lock:
            told_at, withheld = self._places.get(place, (-self._seconds, 0))
            if now - told_at < self._seconds:
                self._places[place] = (told_at, withheld + 1)
                return False
            self._places[place] = (now, 0)
        if withheld:
            record["extra"]["repeats"] = f" (and {withheld} more like it since the last such line)"
        return True


class _Intercept(logging.Handler):
    """Hands the standard library's records to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, under its own name and line so that floods of it are throttled too."""
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno

        def origin(target: Record) -> None:
            _escape_control_characters(target)
            target.update(name=record.name, function=record.funcName, line=record.lineno)

        logger.patch(origin).opt(exception=record.exc_info).log(level, "{}", record.getMessage())


def log_uncaught() -> None:
    """Make log lines of exceptions that nobody catches, in the main thread, in others, and in finalizers.

    Python itself writes them to standard error as they are, with whatever text from the network they hold.
    """
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, Exception):
        exception = (kind, error, trace)
        logger.opt(exception=exception).critical("[FATAL] {}: {}", kind.__name__, error)  # pyright: ignore[reportArgumentType]


def _escape_control_characters(record: Record) -> None:
    """One line is one line: text from the network can neither start a new one nor move the cursor."""
    record["message"] = _shortened(_escaped(record["message"]))


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text):,} characters)"


def _pretty(record: Record) -> str:
    """The format of a line for people. A traceback is set off, so that none of its lines passes for one of the log."""
    if record["exception"] is not None:
        lines = _traceback(record).split("\n")
        record["extra"]["trace"] = "".join(f"\n    | {_escaped(line)}" for line in lines)
    return _PRETTY


def _plain(record: Record) -> str:
    """The format of a line that is written in another way."""
    del record
    return ""


def _traceback(record: Record) -> str:
    exception = record["exception"]
    if exception is None or exception.type is None:
        return ""
    formatter = logging.Formatter()
    text = formatter.formatException((exception.type, exception.value, exception.traceback))  # pyright: ignore[reportArgumentType]
    # What went wrong stands at the end.
    return text if len(text) <= _LONGEST_TEXT else f"({len(text):,} characters) …{text[-_LONGEST_TEXT:]}"


def _json_line(record: Record) -> str:
    fields: dict[str, object] = {
        "time": record["time"].isoformat(),
        "level": record["level"].name.lower(),
        "message": record["message"] + str(record["extra"].get("repeats", "")),
        "logger": record["name"],
    }
    fields |= {name: value for name, value in record["extra"].items() if name not in ("repeats", "trace")}
    if trace := _traceback(record):
        fields["exception"] = trace
    return json.dumps(fields, default=str) + "\n"
