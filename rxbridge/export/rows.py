"""Messages to rows: what the columns of each kind are, and which values they take.

A price or a size is exact: `DECIMAL(38,18)`, as decimal text on the way. As text in the file, "9" would stand after
"10", and every query would have to cast; as a double, 0.1 would be something else. 38 digits, 18 of them behind the
point, hold whatever Coinbase has; what they do not hold is null, and counted, and never rounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeAlias

from rxbridge.events import event_id
from rxbridge.events.cleaning import clean, instant, whole
from rxbridge.messages import CANDLE_SECONDS, Candle, Message, Number, Ticker, Trade

Kind: TypeAlias = Literal["trades", "tickers", "candles"]

KINDS: Final[tuple[Kind, ...]] = ("trades", "tickers", "candles")

DECIMAL = "DECIMAL(38,18)"
MOMENT = "TIMESTAMP_NS"
"""Nanoseconds, UTC. It is staged as an integer since the Unix epoch."""

_COMMON = {"product_id": "VARCHAR"}
_ORIGIN = {"time": MOMENT, "received_at": MOMENT, "feed": "VARCHAR", "event_id": "VARCHAR"}

COLUMNS: Final[Mapping[Kind, Mapping[str, str]]] = {
    "trades": _COMMON
    | {"trade_id": "BIGINT", "price": DECIMAL, "size": DECIMAL, "side": "VARCHAR", "sequence": "BIGINT"}
    | {"backfilled": "BOOLEAN"}
    | _ORIGIN,
    "tickers": _COMMON
    | {"trade_id": "BIGINT", "price": DECIMAL, "last_size": DECIMAL, "side": "VARCHAR", "sequence": "BIGINT"}
    | dict.fromkeys(("best_bid", "best_bid_size", "best_ask", "best_ask_size"), DECIMAL)
    | dict.fromkeys(("volume_24h", "open_24h", "low_24h", "high_24h"), DECIMAL)
    | _ORIGIN,
    "candles": _COMMON
    | {"start": MOMENT, "seconds": "INTEGER"}
    | dict.fromkeys(("open", "high", "low", "close", "volume"), DECIMAL)
    | _ORIGIN,
}
"""Names and DuckDB's types, in the order of the file. A trade's `side` is the maker's, a ticker's the taker's."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as naive as what it is taken from
_MICROSECOND = timedelta(microseconds=1)
_FITS = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?").fullmatch
_BEYOND_MICROSECONDS = re.compile(r"\.[0-9]{6}([0-9]{1,3})").search
_LONGEST_NUMBER = 100


class RowMaker:
    """Makes rows of messages.

    Attributes:
        invalid: Values that were there and have no place in their column.
    """

    def __init__(self) -> None:
        self.invalid: int = 0

    def row(self, message: Message) -> tuple[Kind, dict[str, Any]] | None:
        """The message's row, and of which kind it is; None for what makes none."""
        if isinstance(message, Trade):
            return "trades", self._trade(message)
        if isinstance(message, Ticker):
            return "tickers", self._ticker(message)
        return ("candles", self._candle(message)) if isinstance(message, Candle) else None

    def _trade(self, trade: Trade) -> dict[str, Any]:
        return {
            "trade_id": self._whole(trade.trade_id),
            "price": self._number(trade.price),
            "size": self._number(trade.size),
            "side": _text(trade.side),
            "sequence": self._whole(trade.sequence),
            "backfilled": trade.is_backfilled,
        } | self._origin(trade)

    def _ticker(self, ticker: Ticker) -> dict[str, Any]:
        numbers = {name: self._number(getattr(ticker, name)) for name, kind in _TICKER if kind == DECIMAL}
        return (
            {
                "trade_id": self._whole(ticker.trade_id),
                "side": _text(ticker.side),
                "sequence": self._whole(ticker.sequence),
            }
            | numbers
            | self._origin(ticker)
        )

    def _candle(self, candle: Candle) -> dict[str, Any]:
        start = self._whole(candle.start)
        numbers = {name: self._number(getattr(candle, name)) for name in ("open", "high", "low", "close", "volume")}
        return (
            {"start": None if start is None else self._moment(start * 1_000_000_000), "seconds": CANDLE_SECONDS}
            | numbers
            | self._origin(candle)
        )

    def _origin(self, message: Trade | Ticker | Candle) -> dict[str, Any]:
        return {
            "product_id": _text(message.product_id),
            "time": self._time(message.time),
            "received_at": self._moment(message.frame.received_at),
            "feed": message.part.feed,
            "event_id": event_id(message),
        }

    def _number(self, value: Number) -> str | None:
        """Decimal text that the column holds as it is."""
        if value is None or value == "":
            return None
        text = str(value)
        if _FITS(text):
            return text
        written = ""
        try:
            number = Decimal(text) if len(text) <= _LONGEST_NUMBER else Decimal("NaN")
            if number.is_finite() and abs(number.adjusted()) < _LONGEST_NUMBER:
                written = f"{number:f}"
        except InvalidOperation:
            pass
        if "." in written:
            # Not by `normalize`, which rounds to the digits that the thread's context has.
            written = written.rstrip("0").rstrip(".")
        return written if _FITS(written) else self._none()

    def _whole(self, value: Number) -> int | None:
        return None if value is None else (number if (number := whole(value, minimum=0)) is not None else self._none())

    def _moment(self, nanoseconds: int) -> int | None:
        return nanoseconds if abs(nanoseconds) < 2**63 - 1 else self._none()

    def _time(self, text: str | None) -> int | None:
        if not text:
            return None
        if (at := instant(text)) is None:
            return self._none()
        rest = found[1].ljust(3, "0") if (found := _BEYOND_MICROSECONDS(text)) else "0"
        return self._moment((at - _EPOCH) // _MICROSECOND * 1000 + int(rest))

    def _none(self) -> None:
        self.invalid += 1


_TICKER = tuple(COLUMNS["tickers"].items())


def _text(value: str | None) -> str | None:
    return None if value is None else clean(value)
