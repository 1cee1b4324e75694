"""Where a run takes place: a simulated market, a PulseStream and a bridge, the latter two processes of their own."""

from __future__ import annotations

import resource
import secrets
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Self, TypedDict

from rxbridge.faults import written
from rxbridge.simulator import Simulator
from tests.chaos.certificates import RIGHT, write_certificates
from tests.chaos.kinds import PRODUCTS
from tests.chaos.processes import ChaosError, Running
from tests.chaos.schedule import Schedule, for_server, wire_name
from tests.chaos.servers import fired_of, simulator_of
from tests.chaos.stepping import set_clock
from tests.ports import free_port

UNAVAILABLE = 69
NO_PERMISSION = 77
"""Exit codes of the bridge, after docs/commands.md."""

RESTART_SECONDS = 0.3
"""How soon a supervisor starts again what has ended by itself."""

GRACE_SECONDS = 3.0
"""How long after a fault an end may still be its consequence."""

_HASTE = {
    "RXBRIDGE_FEED_STALL_SECONDS": "2.5",
    "RXBRIDGE_FEED_CONNECT_TIMEOUT_SECONDS": "2",
    "RXBRIDGE_FEED_BACKOFF_MINIMUM_SECONDS": "0.05",
    "RXBRIDGE_FEED_BACKOFF_MAXIMUM_SECONDS": "0.5",
    "RXBRIDGE_BATCH_SECONDS": "0.1",
    "RXBRIDGE_EVENTS_BOOK_SECONDS": "0.2",
    "RXBRIDGE_DELIVERY_CONFIRM_AFTER_SECONDS": "1",
    "RXBRIDGE_RUN_SHUTDOWN_SECONDS": "4",
    "RXBRIDGE_LOG_FORMAT": "json",
    "RXBRIDGE_LOG_REPEAT_SECONDS": "1",
    # Known: what is learnt from a refusal is forgotten minute by minute only.
    "PULSESTREAM_API_EVENTS_PER_MINUTE": "1000000",
    "PULSESTREAM_API_CONNECT_TIMEOUT_SECONDS": "1",
    "PULSESTREAM_API_READ_TIMEOUT_SECONDS": "1",
    "PULSESTREAM_API_WAIT_AFTER_TIMEOUT_SECONDS": "2",
}
"""What takes a quarter of a minute by default takes seconds here, or a run would take minutes.

No request is kept waiting for longer than the pause after a time-out, which is what a start after a crash waits for.
"""


class StageOptions(TypedDict, total=False):
    """What a stage may have beside its schedule; `Stage` describes them."""

    settings: dict[str, str]
    rate_limit: int
    simulator: Simulator | None
    channels: tuple[str, ...] | None


class Stage:
    """Starts everything, keeps it running as a supervisor would, and ends it.

    Args:
        schedule: What happens.
        folder: Where everything is written.
        settings: Environment variables of the bridge, over those of the suite.
        rate_limit: Events a minute that PulseStream takes; 0 for no limit.
        simulator: The market, if it is a special one.
        channels: What the bridge subscribes to, if it is not what the schedule says.

    Attributes:
        key: PulseStream's key, which nothing may ever say.
        bridge: The process, None while there is none.
        sink: PulseStream's, likewise.
        fired: How often each kind of fault has happened.
        problems: What should not have been, in words.
        may_wait: Whether events may be left over at the end.
    """

    def __init__(
        self,
        schedule: Schedule,
        folder: Path,
        *,
        settings: dict[str, str] | None = None,
        rate_limit: int = 0,
        simulator: Simulator | None = None,
        channels: tuple[str, ...] | None = None,
    ) -> None:
        self.schedule = schedule
        self.folder = folder
        self.key = secrets.token_urlsafe(18)
        self.journal = folder / "bridge.journal"
        self.database = folder / "stored.sqlite"
        self.clock = folder / "clock"
        self.fired: Counter[str] = Counter()
        self.problems: list[str] = []
        self.may_wait = False
        self.bridge: Running | None = None
        self.sink: Running | None = None
        self._feed_port = free_port()
        self.simulator = simulator if simulator is not None else simulator_of(schedule, self._feed_port)
        self._rate_limit = rate_limit
        self._channels = schedule.channels if channels is None else channels
        self._port = free_port()
        self._settings = settings or {}
        self._file_limit = resource.RLIM_INFINITY
        self._bridge_due = self._sink_due = 0.0
        self._away_seconds: float | None = None
        self._excuses: dict[str, float] = {}
        self._began = 0.0

    def __enter__(self) -> Self:
        """Start the market, PulseStream and the bridge; when they are at work, the time begins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.journal.exists():
            raise ChaosError(f"{self.folder} holds an earlier run: take another folder, or remove it")
        (self.folder / "schedule.txt").write_text(str(self.schedule), encoding="utf-8")
        set_clock(self.clock, 0.0)
        if self.schedule.secure:
            write_certificates(self.folder)
        try:
            # A process takes its time to start: the bridge is the first, or the schedule would be over by then.
            self.start_bridge().wait_for("[SINK]")
            self.start_sink()
            self.simulator.start()
        except BaseException:
            self.__exit__()
            raise
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """End every process, suspended ones included."""
        for process in (self.bridge, self.sink):
            if process is not None:
                process.kill()
        self.simulator.stop()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    # ---- the processes

    def bridge_arguments(self) -> list[object]:
        """The bridge's command line."""
        stepping = "step" in self.schedule.kinds
        program = ["tests.chaos.stepping", self.clock] if stepping else ["rxbridge"]
        return [*program, "run"]

    def bridge_environment(self) -> dict[str, str]:
        """What the bridge, and every other command, is configured with."""
        return {
            **_HASTE,
            "RXBRIDGE_FEED_PROTOCOL": self.schedule.feed,
            "RXBRIDGE_FEED_CONNECTIONS": str(self.schedule.connections),
            "RXBRIDGE_FEED_URL": self.simulator.url,
            "RXBRIDGE_FEED_PRODUCTS": ",".join(PRODUCTS),
            "RXBRIDGE_FEED_CHANNELS": ",".join(self._channels),
            "RXBRIDGE_JOURNAL_PATH": str(self.journal),
            "RXBRIDGE_DELIVERY_CONFIRM": "all" if self.schedule.confirm else "sample",
            "PULSESTREAM_API_KEY": self.key,
            "PULSESTREAM_API_URL": f"{'https' if self.schedule.secure else 'http'}://127.0.0.1:{self._port}",
            **({"PULSESTREAM_API_CA_FILE": RIGHT.certificate} if self.schedule.secure else {}),
            **self._settings,
        }

    def start_bridge(self, *more: object) -> Running:
        """Start it, with what the disk takes just now."""
        self.bridge = Running(
            [*self.bridge_arguments(), *more],
            log=self.folder / "bridge.log",
            more=self.bridge_environment(),
            folder=self.folder,
        )
        self.bridge.limit_files(self._file_limit)
        return self.bridge

    def start_sink(self) -> None:
        """Start PulseStream with the faults that are still to come, and wait until it answers."""
        faults = self.folder / "sink-faults.toml"
        coming = for_server(self.schedule.of("sink"), elapsed=self.elapsed if self._began else 0.0)
        faults.write_text(written(coming), encoding="utf-8")
        options: list[object] = ["--port", self._port, "--database", self.database, "--rate-limit", self._rate_limit]
        if self.schedule.secure:
            options += ["--tls-certificate", RIGHT.certificate, "--tls-key", RIGHT.key]
        if coming:
            options += ["--faults", faults]
        self.sink = Running(
            ["rxbridge", "pulsestream", *options],
            log=self.folder / "pulsestream.log",
            more={"PULSESTREAM_API_KEY": self.key},
            folder=self.folder,
        )
        self.sink.wait_for("pulsestream: ")

    def bridge_away(self, seconds: float) -> None:
        """It has ended, as it was told to; start it again after a while."""
        self.bridge, self._away_seconds, self._bridge_due = None, None, time.monotonic() + seconds

    def sink_away(self, seconds: float) -> None:
        """Likewise for PulseStream."""
        self.sink, self._sink_due = None, time.monotonic() + seconds

    def supervise(self) -> None:
        """Start again what has ended, and judge how it has ended."""
        now = time.monotonic()
        if self.bridge is not None and self.bridge.code is not None:
            self._judge(self.bridge)
            self.bridge_away(RESTART_SECONDS if self._away_seconds is None else self._away_seconds)
        elif self.bridge is None and now >= self._bridge_due:
            self.start_bridge()
        if self.sink is not None and self.sink.code is not None:
            self.problems.append(f"PulseStream ended with code {self.sink.code} by itself: see its log")
            self.sink_away(RESTART_SECONDS)
        elif self.sink is None and now >= self._sink_due:
            self.start_sink()

    def tell_bridge_to_end(self, away_seconds: float) -> None:
        """SIGTERM. What becomes of it `supervise` sees, and starts it again so long after its end."""
        # Told twice it would end at once, and say so with its code.
        if self.bridge is not None and self._away_seconds is None:
            self._away_seconds = away_seconds
            self.bridge.send(signal.SIGCONT)
            self.bridge.send(signal.SIGTERM)

    def stop_bridge(self) -> None:
        """SIGTERM, and wait for what it must answer: 0, in time."""
        if self.bridge is None:
            return
        self.tell_bridge_to_end(0.0)
        self._judge(self.bridge)
        self.bridge_away(0.0)

    def _judge(self, bridge: Running) -> None:
        """Wait for its end, which nobody can prevent any more, and see whether it is as documented."""
        told = self._away_seconds is not None
        code = bridge.wait()
        # A signal that comes before there is a handler ends any process; then it has not said yet what it is about.
        too_early = told and code == -signal.SIGTERM and "[SINK]" not in bridge.said
        if not (told and code == 0) and not too_early and not self._is_excused(code):
            how = "after SIGTERM" if told else "by itself"
            self.problems.append(f"at {self.elapsed:.1f} s the bridge ended with code {code} {how}")

    def replace_market(self, *, history: int) -> None:
        """The same market hours later, at the same address: it has made so many more trades of each product."""
        self.simulator.stop()
        self.simulator = simulator_of(self.schedule, self._feed_port, history=history)
        self.simulator.start()

    def count_feed_faults(self) -> None:
        """Take over what the simulator has counted so far."""
        for kind, count in self.simulator.statistics.faults.items():
            self.fired[kind] = count

    def finish(self) -> None:
        """End PulseStream, and count what the two servers say they have done."""
        if self.sink is not None:
            self.sink.send(signal.SIGCONT)
            self.sink.send(signal.SIGTERM)
            self.sink.wait()
            names = {wire_name(fault.kind): fault.kind for fault in self.schedule.of("sink")}
            self.fired.update({names[kind]: count for kind, count in fired_of(self.sink.said).items() if kind in names})
            self.sink = None

    # ---- what host faults do to it

    def limit_files(self, size: int) -> None:
        """Let no file of the bridge grow beyond this, now and when it is started again."""
        self._file_limit = size
        if self.bridge is not None:
            self.bridge.limit_files(size)

    def excuse(self, kind: str, seconds: float) -> None:
        """For so long, and a moment more, this may be why something ends."""
        self._excuses[kind] = max(self._excuses.get(kind, 0.0), time.monotonic() + seconds + GRACE_SECONDS)

    def _is_excused(self, code: int) -> bool:
        active = {kind for kind, until in self._excuses.items() if until > time.monotonic()}
        if code == UNAVAILABLE:
            return bool(active & {"disk_full", "read_only"})
        return code == NO_PERMISSION and "unauthorized" in active
