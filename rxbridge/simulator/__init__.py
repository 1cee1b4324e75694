"""A server on loopback that speaks Coinbase's two protocols: live markets that are made up, or a recording."""

from rxbridge.errors import MissingExtra

try:
    from rxbridge.simulator.authentication import Credentials
    from rxbridge.simulator.description import describe
    from rxbridge.simulator.made_up_day import simulated_day
    from rxbridge.simulator.market import TRADES_KEPT
    from rxbridge.simulator.options import SimulatorOptions
    from rxbridge.simulator.session import SimulatorStatistics
    from rxbridge.simulator.simulator import Simulator, serve
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "websockets":
        raise
    raise MissingExtra("websockets", "demo") from _missing

__all__ = [
    "TRADES_KEPT",
    "Credentials",
    "Simulator",
    "SimulatorOptions",
    "SimulatorStatistics",
    "describe",
    "serve",
    "simulated_day",
]
