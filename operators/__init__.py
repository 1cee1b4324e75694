"""Reusable RxPY operators for market data, to stand beside those of the library.

    from reactivex import operators as ops
    from operators import batch, only

`attempt` and `parse` map what may fail, `only` and `dedupe` filter, `crosses_above`, `crosses_below` and `changes_by`
notice, `batch`, `conflate`, `throttle`, `sample_latest` and `rate_limit` thin out in time, `retry_with_backoff` and
`stall_after` keep a source alive, `detect_gaps` and `with_latency` say how good it is, `group_by_product` and
`join_by_time` take streams apart and together, `candles` and `order_books` gather what a product did and where it
stands, `mid`, `spread`, `micro_price`, `vwap`, `book_imbalance`, `trade_flow_imbalance`, `returns`, `volatility` and
`zscore` measure, and `SteadyScheduler` keeps the time. They know of no application, do no I/O, and read no clock but
that of the scheduler that they are given.
"""

from operators.attempt import attempt, parse
from operators.batch import batch
from operators.book_imbalance import book_imbalance
from operators.books import order_books
from operators.candles import candles
from operators.changes_by import changes_by
from operators.conflate import conflate
from operators.crosses import crosses_above, crosses_below
from operators.dedupe import dedupe
from operators.detect_gaps import detect_gaps
from operators.group_by_product import group_by_product
from operators.join_by_time import join_by_time
from operators.only import only
from operators.order_book import OrderBook
from operators.play_back import play_back
from operators.quotes import micro_price, mid, spread
from operators.rate_limit import rate_limit
from operators.replay_clock import ReplayClock
from operators.retry import retry_with_backoff
from operators.returns import returns
from operators.sample_latest import sample_latest
from operators.stall import stall_after
from operators.steady import SteadyScheduler
from operators.throttle import throttle
from operators.trade_flow_imbalance import trade_flow_imbalance
from operators.volatility import volatility
from operators.vwap import vwap
from operators.with_latency import with_latency
from operators.zscore import zscore

__all__ = [
    "OrderBook",
    "ReplayClock",
    "SteadyScheduler",
    "attempt",
    "batch",
    "book_imbalance",
    "candles",
    "changes_by",
    "conflate",
    "crosses_above",
    "crosses_below",
    "dedupe",
    "detect_gaps",
    "group_by_product",
    "join_by_time",
    "micro_price",
    "mid",
    "only",
    "order_books",
    "parse",
    "play_back",
    "rate_limit",
    "retry_with_backoff",
    "returns",
    "sample_latest",
    "spread",
    "stall_after",
    "throttle",
    "trade_flow_imbalance",
    "volatility",
    "vwap",
    "with_latency",
    "zscore",
]
