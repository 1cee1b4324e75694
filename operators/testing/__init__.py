"""What a test of a pipeline needs: marbles of market messages, virtual time, and the proof that nothing was lost.

    from operators.testing import VirtualTime, assert_conserved, assert_timeline, timeline, trades

`VirtualTime` is a scheduler on which hours pass in no time, always in the same order: it makes sources of marble
texts, runs an observable, and keeps what happened when. `trades` and `quotes` write market messages as marbles.
`assert_timeline` and `assert_conserved` say what differs in words. `Subscriber` blocks when told to, for tests with
threads, and `CountingScheduler` counts timers. Nothing here needs a test framework.
"""

from operators.testing.conservation import assert_conserved
from operators.testing.market import Quote, Snapshot, Trade, Update, quote, quotes, trade, trades
from operators.testing.run import Lane, Run, Subscription
from operators.testing.subscriber import CountingScheduler, Subscriber, wait_for_turn
from operators.testing.timeline import Moment, Timeline, assert_timeline, timeline
from operators.testing.virtual_time import VirtualTime

__all__ = [
    "CountingScheduler",
    "Lane",
    "Moment",
    "Quote",
    "Run",
    "Snapshot",
    "Subscriber",
    "Subscription",
    "Timeline",
    "Trade",
    "Update",
    "VirtualTime",
    "assert_conserved",
    "assert_timeline",
    "quote",
    "quotes",
    "timeline",
    "trade",
    "trades",
    "wait_for_turn",
]
