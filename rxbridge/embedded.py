"""The bridge as other code starts it: in a notebook, a test, or a service of one's own, on threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, cast

from loguru import logger
from pydantic import SecretStr

from rxbridge import bridge
from rxbridge.channels import FeedName
from rxbridge.config import SECTIONS, Settings, load
from rxbridge.custom_pipelines import Chosen, Pipelines, load_pipelines
from rxbridge.errors import ConfigError, JournalError
from rxbridge.left_out import some
from rxbridge.suggestions import nearest
from rxbridge.tables import html_table
from rxbridge.telemetry.statistics import (
    BackfillStatistics,
    ConfirmationStatistics,
    DeliveryStatistics,
    FeedStatistics,
    Statistics,
)

State: TypeAlias = Literal["new", "starting", "running", "stopping", "stopped", "failed"]

_START_SECONDS = 10.0
"""How long `start` waits to see whether it starts well. A server that does not answer takes about as long."""

_ARGUMENTS = {
    "feed.products": "products",
    "feed.channels": "channels",
    "feed.protocol": "feed",
    "feed.url": "feed_url",
    "pulsestream.url": "pulsestream_url",
    "pulsestream.key": "api_key",
    "journal.path": "journal",
    "run.pipeline": "pipeline",
}
"""What settings are called that are arguments of their own."""

_NOTHING = Statistics(
    feed=FeedStatistics(),
    backfill=BackfillStatistics(),
    delivery=DeliveryStatistics(),
    confirmation=ConfirmationStatistics(),
    journal_bytes=0,
    arrived_frames=0,
    waiting_frames=0,
    dropped_frames=0,
    let_go_frames=0,
    oldest_waiting_seconds=0.0,
    market_gaps=0,
    overloaded=False,
)


class Bridge:
    """All that `rxbridge run` does, from code: Coinbase, journal, PulseStream, backfill, proofs.

        with rxbridge.Bridge(["BTC-USD"], ["ticker", "trades"], pulsestream_url=url, api_key=key) as bridge:
            bridge.wait(60)
            print(bridge.statistics().delivery.delivered)

    It runs on threads of its own, so nothing blocks a notebook, and it drains at the end of the block. What ends it is
    raised where one looks: by `start` if it does not start, else by `wait`, by `stop`, or at the end of the block; and
    its repr says it. It may be started again.

    Settings come from the arguments, else from the environment (`PULSESTREAM_API_KEY`, say), else from the file, as for
    the command; docs/configuration.md has them all.

    Args:
        products: Ids and wildcards, as `feed.products`.
        channels: As `feed.channels`.
        feed: `exchange` or `advanced`, as `feed.protocol`.
        feed_url: As `feed.url`.
        pulsestream_url: As `pulsestream.url`.
        api_key: As `pulsestream.key`; it is shown nowhere.
        journal: The journal's file, as `journal.path`. Two bridges at a time need two.
        pipeline: What makes the events, as `run.pipeline`: a function from frames to events of your own, a name, or
            several of them; see docs/custom-pipelines.md.
        settings: Any others by their full names, such as `{"batch.count": 500}`; or all of them at once, as
            `rxbridge.config.load` returns them, and then nothing else may be given.
        config: The settings' file; None takes `rxbridge.toml` of the working directory if there is one.
        environment: None takes that of the process; `{}` takes none.

    Raises:
        ConfigError: A setting is wrong or unknown, or there is no API key.
    """

    def __init__(
        self,
        products: Sequence[str] | str | None = None,
        channels: Sequence[str] | str | None = None,
        *,
        feed: FeedName | None = None,
        feed_url: str | None = None,
        pulsestream_url: str | None = None,
        api_key: str | None = None,
        journal: str | Path | None = None,
        pipeline: Chosen | Sequence[Chosen] | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        config: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "feed.products": _names(products, "products"),
            "feed.channels": _names(channels, "channels"),
            "feed.protocol": feed,
            "feed.url": feed_url,
            "pulsestream.url": pulsestream_url,
            "pulsestream.key": SecretStr(api_key) if isinstance(api_key, str) else api_key,
            "journal.path": journal,
        }
        self._pipelines: Pipelines | None = None
        if pipeline is not None:
            self._pipelines = load_pipelines(_listed(pipeline))
            given["run.pipeline"] = self._pipelines.names
        self._settings = _settings(given, settings, config, environment)
        if self._settings.run.role != "feed" and not self._settings.run.dry_run:
            self._settings.pulsestream.secret()  # raises if there is none
        self._changed = threading.Condition()
        self._state: State = "new"
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._bridge: bridge.Bridge | None = None
        self._last = _NOTHING

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self._stopping.set()  # whoever is interrupted in it gets no block, and so no end of one
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; an exception on its way out of the block is not replaced."""
        try:
            self.stop()
        except Exception:
            if error is None:
                raise

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    def start(self, seconds: float = _START_SECONDS) -> None:
        """Start, and see for so long at most whether that goes well; what takes longer goes on meanwhile.

        Raises:
            RuntimeError: It runs already.
            JournalInUse: Another process, or another bridge of this one, has the journal.
            Unauthorized: PulseStream refuses the key.
            ConfigError: What only shows when it starts.
        """
        with self._changed:
            if self._state in {"starting", "running", "stopping"}:
                raise RuntimeError(f"the bridge is {self._state} already")
            self._state, self._failure, self._stopping = "starting", None, threading.Event()
            self._last = _NOTHING
        threading.Thread(target=self._live, args=(self._stopping,), name="rxbridge-bridge", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._state != "starting", seconds)
        self._raise()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until it has ended, or for so long; a keyboard interrupt ends the waiting, and nothing else.

        Returns:
            Whether it has ended: by `stop`, or for want of something to do (`run.exit_when_idle`).

        Raises:
            SubscriptionRejected: Coinbase takes none of the products.
            RxBridgeError: Whatever else has ended it.
        """
        with self._changed:
            ended = self._changed.wait_for(lambda: self._state in {"new", "stopped", "failed"}, seconds)
        self._raise()
        return ended

    def stop(self) -> Statistics:
        """Drain, and let go of everything; within `run.shutdown_seconds`, about.

        Returns:
            The counters at the end. What waits in the journal is delivered after the next start.

        Raises:
            RxBridgeError: As `wait`.
        """
        self._stopping.set()
        self.wait()
        return self.statistics()

    def run(self, seconds: float | None = None) -> Statistics:
        """Start, wait for the end or for so long, and stop: the command in one call. A keyboard interrupt stops it."""
        with self:
            self.wait(seconds)
        return self.statistics()

    def ask_for(self, products: Sequence[str] | str) -> None:
        """Feed other products from now on: ids and wildcards, on the connection that is open.

        Raises:
            RuntimeError: It does not run.
        """
        with self._changed:
            running = self._bridge if self._state == "running" else None
        if running is None:
            raise RuntimeError(f"the bridge is {self._state}")
        running.ask_for(_names(products, "products") or ())

    def statistics(self) -> Statistics:
        """All counters as they are now, or as they were at the end; none before it runs."""
        with self._changed:
            return self._bridge.statistics() if self._bridge is not None and self._state == "running" else self._last

    def __repr__(self) -> str:
        products = some(self._settings.feed.products)
        failure = "" if self._failure is None else f": {type(self._failure).__name__}: {self._failure}"
        now = self._seen()
        counts = f"{now.feed.frames:,} frames, {now.delivery.delivered:,} delivered, {now.waiting_frames:,} waiting"
        return f"<Bridge of {products}, {self._state}{failure}; {counts}>"

    def _repr_html_(self) -> str:
        now = self._seen()
        rows: list[tuple[str, object]] = [
            ("state", self._state if self._failure is None else f"{self._state}: {self._failure}"),
            ("feed", self._settings.feed.url),
            ("PulseStream", self._settings.pulsestream.url),
            ("journal", self._settings.journal.path),
            ("frames", f"{now.feed.frames:,}"),
            ("delivered", f"{now.delivery.delivered:,}"),
            ("dead letters", f"{now.delivery.dead:,}"),
            ("frames waiting", f"{now.waiting_frames:,}"),
            ("oldest waiting", timedelta(seconds=round(now.oldest_waiting_seconds))),
        ]
        return html_table(f"Bridge of {some(self._settings.feed.products)}", (), rows)

    def _seen(self) -> Statistics:
        try:
            return self.statistics()
        except JournalError:
            return self._last  # to look at something must not fail

    def _live(self, stopping: threading.Event) -> None:
        failure: BaseException | None = None
        try:
            self._run(stopping)
        except BaseException as error:  # noqa: BLE001 a thread has no caller: it is raised by `wait`
            failure = error
            logger.error("[FAILED] The bridge has ended: {}", error)
        with self._changed:
            if self._bridge is not None and self._bridge.last_statistics is not None:
                self._last = self._bridge.last_statistics
            self._bridge, self._failure = None, failure
            self._state = "stopped" if failure is None else "failed"
            self._changed.notify_all()

    def _run(self, stopping: threading.Event) -> None:
        with bridge.Bridge(self._settings, stopping, pipelines=self._pipelines) as running:
            with self._changed:
                self._bridge, self._state = running, "running"
                self._changed.notify_all()
            try:
                running.run()
            finally:
                with self._changed:
                    # From here on the journal is about to be closed.
                    self._state = "stopping"
                    with suppress(JournalError):  # it is told already, and hides no other failure here
                        self._last = running.statistics()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


def _names(names: Sequence[str] | str | None, argument: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(","))
    try:
        return tuple(names)
    except TypeError:
        raise ConfigError(argument, f"is of type {type(names).__name__}", "give a name, or a list of names") from None


def _listed(pipeline: Chosen | Sequence[Chosen]) -> Sequence[Chosen]:
    if isinstance(pipeline, str):
        return [name.strip() for name in pipeline.split(",")]
    return cast("Sequence[Chosen]", pipeline) if isinstance(pipeline, Sequence) else [pipeline]


def _settings(
    given: Mapping[str, Any],
    settings: Settings | Mapping[str, Any] | None,
    config: Path | None,
    environment: Mapping[str, str] | None,
) -> Settings:
    if isinstance(settings, Settings):
        others = [name for name, value in given.items() if value is not None]
        if others or config is not None or environment is not None:
            raise ConfigError(next(iter(others), "settings"), "is given beside settings that are complete")
        return settings
    others = settings or {}
    known = [f"{section.table}.{field}" for section in SECTIONS for field in section.model_fields]
    for name in others:
        if name not in known:
            raise ConfigError(name, f"unknown setting{nearest(name, known)}")
        if given.get(name) is not None:
            raise ConfigError(name, "is given twice")
    # What is wrong is named as it was written.
    called = _ARGUMENTS | {name: name for name in others}
    return load(config, {**given, **others}, environment, called=lambda name: called.get(name, name))
