"""Coinbase market data, as RxPY observables, delivered to PulseStream.

    import rxbridge

    rxbridge.coinbase.trades(["BTC-USD"]).subscribe(print)         # a feed: frames, messages, tickers, trades, books
    rxbridge.recording.read("day.jsonl.zst")                       # what was received once
    rxbridge.connect(observable).to(rxbridge.PulseStream(url, key))  # any Observable to any sink
    with rxbridge.Bridge(["BTC-USD"], api_key=key) as bridge: ...  # all that the command does

docs/in-code.md says more. Each of these names is imported when it is first used, so that `import rxbridge` costs
nothing, and the command starts no later.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rxbridge.version import __version__

if TYPE_CHECKING:
    from rxbridge import coinbase, recording
    from rxbridge.connecting import Connection, PulseStream, Rows, connect
    from rxbridge.embedded import Bridge
    from rxbridge.events.custom import event

__all__ = [
    "Bridge",
    "Connection",
    "PulseStream",
    "Rows",
    "__version__",
    "coinbase",
    "connect",
    "event",
    "recording",
]

_HOMES = {
    "Bridge": "rxbridge.embedded",
    "Connection": "rxbridge.connecting",
    "PulseStream": "rxbridge.connecting",
    "Rows": "rxbridge.connecting",
    "connect": "rxbridge.connecting",
    "event": "rxbridge.events.custom",
}
"""Where the names are from; the others are modules."""


def __getattr__(name: str) -> object:  # PEP 562
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name)
    found = import_module(f"{__name__}.{name}") if home is None else getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
