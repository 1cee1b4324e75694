"""What happens in a run, drawn from its seed: which faults, when, for how long. The same seed draws the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from rxbridge import faults as server_faults
from tests.chaos.certificates import WRONG
from tests.chaos.kinds import KINDS, SIDES, Kind, Side, Value

EARLIEST_SECONDS = 1.0
"""No fault before this: something should be there that can go wrong."""

UNTRUSTWORTHY_SINK = frozenset({"lose", "sink_kill"})
"""What makes PulseStream lose what it has confirmed: such a run has confirmation on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of a schedule.

    Attributes:
        kind: What goes wrong.
        at: When it begins, in seconds after the start.
        seconds: How long it lasts; None for what happens in a moment.
        parameters: Of the kind.
    """

    kind: str
    at: float
    seconds: float | None = None
    parameters: dict[str, Value] = field(default_factory=dict[str, Value])

    @property
    def side(self) -> Side:
        """Who makes it happen."""
        return KINDS[self.kind].side

    @property
    def end(self) -> float:
        """When it is over."""
        return self.at + (self.seconds or 0.0)

    def __str__(self) -> str:
        lasting = "" if self.seconds is None else f" for {self.seconds:g} s"
        given = "".join(f" {name}={value}" for name, value in self.parameters.items())
        return f"{self.at:6.2f} {self.kind}{lasting}{given}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run.

    Attributes:
        seed: What it was drawn from.
        seconds: How long faults happen.
        rate: Trades a second, over all products.
        faults: By time.
        confirm: Whether deliveries are confirmed later.
        secure: Whether PulseStream speaks TLS.
    """

    seed: int
    seconds: float
    rate: float
    faults: tuple[Fault, ...]
    confirm: bool
    secure: bool = False

    def of(self, side: Side) -> list[Fault]:
        """Those of one side."""
        return [fault for fault in self.faults if fault.side == side]

    @property
    def kinds(self) -> frozenset[str]:
        """Whatever happens in it."""
        return frozenset(fault.kind for fault in self.faults)

    def __str__(self) -> str:
        head = f"seed {self.seed}: {self.seconds:g} s, {self.rate:g} trades a second"
        extras = (", confirmation" if self.confirm else "") + (", TLS" if self.secure else "")
        return "\n".join([head + extras, *map(str, self.faults)]) + "\n"


def draw(seed: int, *, seconds: float = 8.0, kinds: Sequence[str] = ()) -> Schedule:
    """The schedule of a seed.

    Args:
        seed: Any number.
        seconds: How long faults happen.
        kinds: Only these; empty for all.
    """
    random = Random(f"chaos {seed}")
    by_side = {side: [name for name, kind in KINDS.items() if kind.side == side] for side in SIDES}
    faults: list[Fault] = []
    for _ in range(random.randint(3, 7)):
        name = random.choice(kinds or by_side[random.choice(SIDES)])
        faults.extend(_happening(random, name, KINDS[name], seconds))
    return planned(seed, faults, seconds=seconds, rate=random.choice((20.0, 60.0, 150.0)), any_confirm=random.random())


def planned(seed: int, faults: Iterable[Fault], *, seconds: float, rate: float, any_confirm: float = 1.0) -> Schedule:
    """A schedule of given faults, with what it needs switched on; confirmation also where `any_confirm` is small."""
    ordered = tuple(sorted(faults, key=lambda fault: fault.at))
    names = {fault.kind for fault in ordered}
    return Schedule(
        seed=seed,
        seconds=seconds,
        rate=rate,
        faults=ordered,
        confirm=bool(names & UNTRUSTWORTHY_SINK) or any_confirm < 0.2,
        secure="wrong_certificate" in names,
    )


def _happening(random: Random, name: str, kind: Kind, seconds: float) -> list[Fault]:
    lasts = None if kind.lasts is None else round(min(random.uniform(*kind.lasts), seconds - EARLIEST_SECONDS), 2)
    at = round(random.uniform(EARLIEST_SECONDS, seconds - (lasts or 0.0)), 2)
    parameters = {parameter: choose(random) for parameter, choose in kind.parameters.items()}
    fault = Fault(name, at, lasts, parameters)
    if kind.provoked_by is None:
        return [fault]
    # A refused subscription needs someone who subscribes meanwhile, a REST that fails someone who asks it.
    return [fault, Fault(kind.provoked_by, round(at + 0.2, 2), KINDS[kind.provoked_by].brief, {})]


def for_server(faults: Iterable[Fault], *, elapsed: float = 0.0) -> list[server_faults.Fault]:
    """The same faults as a server takes them.

    Args:
        faults: Of one side.
        elapsed: How many seconds ago the run began: what is over is left out, and the rest begins so much sooner.
    """
    coming = [fault for fault in faults if fault.end > elapsed + 0.02 or not elapsed]
    return [_for_server(fault, elapsed) for fault in coming]


def _for_server(fault: Fault, elapsed: float) -> server_faults.Fault:
    parameters: dict[str, Any] = dict(fault.parameters)
    if fault.kind == "wrong_certificate":
        parameters |= {"certificate": WRONG.certificate, "key": WRONG.key}
    lasts = None if fault.seconds is None else round(fault.end - max(fault.at, elapsed), 2)
    return server_faults.Fault(
        wire_name(fault.kind), at=round(max(fault.at - elapsed, 0.0), 2), seconds=lasts, **parameters
    )


def wire_name(kind: str) -> str:
    """What the servers call it: both sides have a `reset`."""
    return kind.removeprefix("sink_") if KINDS[kind].side == "sink" else kind
