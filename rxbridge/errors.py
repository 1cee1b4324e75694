"""Every error that rxbridge raises, in one tree.

    RxBridgeError
    ├── ConfigError
    ├── FeedError
    │   ├── ConnectionLost *
    │   ├── FeedStalled *
    │   ├── SubscriptionRejected
    │   ├── MalformedFrame
    │   ├── RestFailed *
    │   └── RestRefused
    ├── DeliveryError
    │   ├── Unreachable *
    │   │   ├── ReadTimedOut *
    │   │   └── CutOff *
    │   ├── Throttled *
    │   ├── ServerFailed *
    │   ├── Unauthorized *
    │   └── EventRejected
    ├── JournalError
    │   ├── JournalFull *
    │   ├── FramesLetGo
    │   ├── JournalInUse
    │   └── JournalCorrupt
    ├── PipelineFailed *
    ├── RecordingError
    ├── ExportError
    └── MissingExtra

A star marks the retryable ones: the same thing, tried again later, may work.

Each class carries its data as attributes and writes its own message, so a raise names facts and never words. No
message holds a key, and none holds text from the network unescaped: `quoted` makes it safe for one log line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


def quoted(text: str | bytes, limit: int = 200) -> str:
    """Text from outside as it may stand in a log line: in quotes, control characters escaped, cut to `limit`."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return ascii(text if len(text) <= limit else text[:limit] + "…")


class RxBridgeError(Exception):
    """The root: `except RxBridgeError` catches whatever rxbridge raises on purpose."""

    retryable: ClassVar[bool] = False


class ConfigError(RxBridgeError):
    """A setting is wrong; `setting` names it as the user wrote it, `hint` says what to do."""

    def __init__(self, setting: str, problem: str, hint: str = "") -> None:
        self.setting = setting
        self.problem = problem
        self.hint = hint
        super().__init__(f"{setting}: {problem}" + (f". {hint}" if hint else ""))


class MissingExtra(RxBridgeError):
    """A command needs a package that only an extra installs."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"this needs the package {package}: pip install 'rxbridge[{extra}]'")


class FeedError(RxBridgeError):
    """Something went wrong between Coinbase and us."""


class ConnectionLost(FeedError):
    """The socket closed, or could not be opened. `code` is the WebSocket close code where there was one."""

    retryable = True

    def __init__(self, url: str, problem: str, code: int | None = None) -> None:
        self.url = url
        self.problem = problem
        self.code = code
        closed = f" (close code {code})" if code is not None else ""
        super().__init__(f"connection to {url} lost{closed}: {problem}")


class FeedStalled(FeedError):
    """The socket is open and nothing came for `seconds`."""

    retryable = True

    def __init__(self, url: str, seconds: float, *, answers_pings: bool) -> None:
        self.url = url
        self.seconds = seconds
        self.answers_pings = answers_pings
        pings = "it still answers pings" if answers_pings else "nor does it answer pings"
        super().__init__(f"no frame from {url} for {seconds:g} s ({pings})")


class SubscriptionRejected(FeedError):
    """Coinbase refuses products that were asked for; `reasons` says why, by product."""

    def __init__(self, url: str, reasons: dict[str, str]) -> None:
        self.url = url
        self.reasons = reasons
        listed = "; ".join(f"{product}: {quoted(reason)}" for product, reason in sorted(reasons.items()))
        super().__init__(f"{url} refuses {listed}")


class MalformedFrame(FeedError):
    """A frame that is no JSON, or whose fields have impossible types."""

    def __init__(self, data: bytes, problem: str) -> None:
        self.data = data
        self.problem = problem
        super().__init__(f"malformed frame ({problem}): {quoted(data, 80)}")


class RestFailed(FeedError):
    """Coinbase's REST API gave no answer that can be used: none at all, 429, 5xx, or something out of shape.

    `status` is the HTTP status where there was one; `retry_after` says how many seconds Coinbase asks to be left alone.
    """

    retryable = True

    def __init__(self, url: str, problem: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        self.url = url
        self.problem = problem
        self.status = status
        self.retry_after = retry_after
        http = f" (HTTP {status})" if status is not None else ""
        super().__init__(f"{url} gives no usable answer{http}: {problem}")


class RestRefused(FeedError):
    """Coinbase's REST API will not answer this request, now or later: there is no such product, or no such address."""

    def __init__(self, url: str, status: int, detail: str) -> None:
        self.url = url
        self.status = status
        self.detail = detail
        super().__init__(f"{url} refuses the request (HTTP {status}): {quoted(detail)}")


class DeliveryError(RxBridgeError):
    """Something went wrong between us and PulseStream."""


class Unreachable(DeliveryError):
    """No answer: refused, reset, unresolvable, TLS not valid."""

    retryable = True

    def __init__(self, url: str, problem: str) -> None:
        self.url = url
        self.problem = problem
        super().__init__(f"PulseStream at {url} cannot be reached: {problem}")


class ReadTimedOut(Unreachable):
    """The request was sent and no answer came in `seconds`: the server may still be working on it."""

    def __init__(self, url: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(url, f"no answer within {seconds:g} s; the request may still be running there")


class CutOff(Unreachable):
    """The connection broke after the request, or a part of it, was sent: the server may still be working on it."""


class Throttled(DeliveryError):
    """The tenant's rate limit is used up until `resume_at` (Unix time in seconds).

    `named` says whether the server named that time, in a `Retry-After`; PulseStream itself never does, so it was then
    somebody on the way, whose limit is another one.
    """

    retryable = True

    def __init__(self, resume_at: float, detail: str, *, named: bool = False) -> None:
        self.resume_at = resume_at
        self.detail = detail
        self.named = named
        super().__init__(f"rate limit reached: {quoted(detail)}")


class ServerFailed(DeliveryError):
    """PulseStream answered, but the answer says nothing reliable about the events: 5xx, or out of shape."""

    retryable = True

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"PulseStream failed (HTTP {status}): {quoted(detail)}")


class Unauthorized(DeliveryError):
    """The key was refused. Not final: PulseStream says the same while its database is down."""

    retryable = True

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(
            f"PulseStream refused the API key: {quoted(detail)} (it says so too while its database is down)"
        )


class EventRejected(DeliveryError):
    """PulseStream refuses this event for good."""

    def __init__(self, event_id: str, reasons: Sequence[str]) -> None:
        self.event_id = event_id
        self.reasons: tuple[str, ...] = tuple(reasons)
        super().__init__(f"event {quoted(event_id)} refused: " + "; ".join(quoted(r) for r in self.reasons))


class JournalError(RxBridgeError):
    """Something went wrong with the journal at `path`."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"journal {path}: {problem}")


class JournalFull(JournalError):
    """The disk takes no more. Frames wait in memory, up to a limit, until it does."""

    retryable = True


class FramesLetGo(JournalError):
    """The journal was full, and let go of frames that are delivered, and that others had not acknowledged.

    Attributes:
        frames: How many, since it was last told.
        consumers: The names of those others.
    """

    def __init__(self, path: str, frames: int, consumers: tuple[str, ...]) -> None:
        self.frames = frames
        self.consumers = consumers
        others = " and ".join(consumers)
        super().__init__(path, f"is full: {frames} delivered frames were let go before {others} was done with them")


class FramesLost(JournalError):
    """The journal was closed while the disk took nothing; what waited in memory is gone."""


class JournalInUse(JournalError):
    """Somebody already feeds, delivers from, or maintains this journal: another process, or, if `here`, this one."""

    def __init__(self, path: str, role: str, owner: str, *, here: bool = False) -> None:
        self.role = role
        self.owner = owner
        self.here = here
        verb = {"feed": "feeds", "deliver": "delivers from", "maintain": "maintains"}.get(role, role)
        who, which = ("this process", "the bridge that does") if here else ("another process", "that one")
        super().__init__(path, f"{who} ({owner}) already {verb} it; stop {which}, or use another journal")


class JournalCorrupt(JournalError):
    """The journal's file, or a part of it, cannot be read."""


class PipelineFailed(RxBridgeError):
    """A user's pipeline ended with an error; `offset` is that of the frame it was given, `times` how often in a row."""

    retryable = True

    def __init__(self, pipeline: str, offset: int, problem: str, times: int = 1) -> None:
        self.pipeline = pipeline
        self.offset = offset
        self.problem = problem
        self.times = times
        often = f" {times} times in a row, without an event in between, now" if times > 1 else ""
        super().__init__(f"the pipeline {pipeline} failed{often} at frame {offset}: {problem}")


class RecordingError(RxBridgeError):
    """A recording of frames at `path` cannot be read; `line` counts from 1, None where no line is to blame."""

    def __init__(self, path: str, problem: str, line: int | None = None) -> None:
        self.path = path
        self.problem = problem
        self.line = line
        where = f", line {line}" if line is not None else ""
        super().__init__(f"recording {path}{where}: {problem}")


class ExportError(RxBridgeError):
    """The file, or the folder, at `path` does not take what is exported."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"cannot export to {path}: {problem}")
