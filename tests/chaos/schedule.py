"""What happens in a run, drawn from its seed: which faults, when, for how long. The same seed draws the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from rxbridge import faults as server_faults
from tests.chaos.certificates import WRONG
from tests.chaos.kinds import BOOKS, CHANNELS, KINDS, ON_WIRE, SIDES, FeedName, Kind, Side, Value

EARLIEST_SECONDS = 1.0
"""No fault before this: something should be there that can go wrong."""

UNTRUSTWORTHY_SINK = frozenset({"lose", "sink_kill"})
"""What makes PulseStream lose what it has confirmed: such a run has confirmation on."""


_OF_CONNECTIONS = frozenset({"close", "reset", "silence", "trickle"})


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
        feed: Which of Coinbase's feeds.
        books: Whether order books are kept.
        connections: How many connections bring each product.
    """

    seed: int
    seconds: float
    rate: float
    faults: tuple[Fault, ...]
    confirm: bool
    secure: bool = False
    feed: FeedName = "exchange"
    books: bool = False
    connections: int = 1

    @property
    def channels(self) -> tuple[str, ...]:
        """What the bridge subscribes to, as rxbridge calls it."""
        return _channels(self.feed, books=self.books)

    def of(self, side: Side) -> list[Fault]:
        """Those of one side."""
        return [fault for fault in self.faults if fault.side == side]

    @property
    def kinds(self) -> frozenset[str]:
        """Whatever happens in it."""
        return frozenset(fault.kind for fault in self.faults)

    def __str__(self) -> str:
        head = f"seed {self.seed}: {self.seconds:g} s, {self.rate:g} trades a second"
        extras = (", Advanced Trade" if self.feed == "advanced" else "") + (", books" if self.books else "")
        extras += f", {self.connections} connections" if self.connections > 1 else ""
        extras += (", confirmation" if self.confirm else "") + (", TLS" if self.secure else "")
        return "\n".join([head + extras, *map(str, self.faults)]) + "\n"


def draw(
    seed: int,
    *,
    seconds: float = 8.0,
    kinds: Sequence[str] = (),
    feed: FeedName | None = None,
    books: bool | None = None,
) -> Schedule:
    """The schedule of a seed.

    Args:
        seed: Any number.
        seconds: How long faults happen.
        kinds: Only these; empty for all.
        feed: Which of Coinbase's feeds; None for the one that is drawn, Advanced Trade in one of three.
        books: Whether order books are kept; None for what is drawn, in half of all.
    """
    random = Random(f"chaos {seed}")
    # Dice of their own, so that a seed draws the same faults on either feed; what does not happen there is left out.
    dice = Random(f"chaos {seed} feed")
    drawn: tuple[FeedName, bool] = ("advanced" if dice.random() < 1 / 3 else "exchange", dice.random() < 0.5)
    feed, books = feed or drawn[0], drawn[1] if books is None else books
    if kinds and not any(feed in KINDS[name].feeds for name in kinds):
        feed = "exchange"
    chosen = [name for name in kinds if feed in KINDS[name].feeds]
    by_side = {side: [name for name, kind in KINDS.items() if kind.side == side] for side in SIDES}
    faults: list[Fault] = []
    for _ in range(random.randint(3, 7)):
        name = random.choice(chosen or by_side[random.choice(SIDES)])
        happening = _happening(random, name, KINDS[name], seconds)
        faults.extend(happening if feed in KINDS[name].feeds else ())
    rate, any_confirm = random.choice((20.0, 60.0, 150.0)), random.random()
    if feed != "exchange" or books:
        channels = _channels(feed, books=books)
        faults = [_with_channel(fault, dice.choice(channels)) for fault in faults]
    lines = Random(f"chaos {seed} connections")
    connections = 2 if lines.random() < 1 / 4 else 1
    if connections > 1:
        faults = [_of_one_connection(fault) if lines.random() < 1 / 2 else fault for fault in faults]
    whole = planned(seed, faults, seconds=seconds, rate=rate, any_confirm=any_confirm, feed=feed, books=books)
    return replace(whole, connections=connections)


def _channels(feed: FeedName, *, books: bool) -> tuple[str, ...]:
    return (*CHANNELS[feed], BOOKS) if books else CHANNELS[feed]


def _of_one_connection(fault: Fault) -> Fault:
    """The same fault, of one of the connections if it is about connections."""
    if fault.kind not in _OF_CONNECTIONS:
        return fault
    return replace(fault, parameters={**fault.parameters, "clients": "oldest"})


def _with_channel(fault: Fault, channel: str) -> Fault:
    """The same fault, of this channel if it is about one."""
    if "channel" not in fault.parameters:
        return fault
    return replace(fault, parameters={**fault.parameters, "channel": channel})


def planned(
    seed: int,
    faults: Iterable[Fault],
    *,
    seconds: float,
    rate: float,
    any_confirm: float = 1.0,
    feed: FeedName = "exchange",
    books: bool = False,
) -> Schedule:
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
        feed=feed,
        books=books,
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


def for_server(
    faults: Iterable[Fault], *, elapsed: float = 0.0, feed: FeedName = "exchange"
) -> list[server_faults.Fault]:
    """The same faults as a server takes them.

    Args:
        faults: Of one side.
        elapsed: How many seconds ago the run began: what is over is left out, and the rest begins so much sooner.
        feed: Whose names of channels the server uses.
    """
    coming = [fault for fault in faults if fault.end > elapsed + 0.02 or not elapsed]
    return [_for_server(fault, elapsed, ON_WIRE[feed]) for fault in coming]


def _for_server(fault: Fault, elapsed: float, names: Mapping[str, str]) -> server_faults.Fault:
    parameters: dict[str, Any] = dict(fault.parameters)
    if fault.kind == "wrong_certificate":
        parameters |= {"certificate": WRONG.certificate, "key": WRONG.key}
    if "channel" in parameters:
        parameters["channel"] = names.get(parameters["channel"], parameters["channel"])
    lasts = None if fault.seconds is None else round(fault.end - max(fault.at, elapsed), 2)
    return server_faults.Fault(
        wire_name(fault.kind), at=round(max(fault.at - elapsed, 0.0), 2), seconds=lasts, **parameters
    )


def wire_name(kind: str) -> str:
    """What the servers call it: both sides have a `reset`."""
    return kind.removeprefix("sink_") if KINDS[kind].side == "sink" else kind
