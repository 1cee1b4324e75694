"""Books from recorded frames of both of Coinbase's feeds, if there are recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import msgspec
import reactivex
from reactivex.testing import TestScheduler

from operators import OrderBook, order_books
from operators.book_view import BookTrouble, BookView
from rxbridge.recording import read

RealRecording: TypeAlias = Callable[[str], Path]


class Snapshot(msgspec.Struct):
    product_id: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Update(msgspec.Struct):
    product_id: str
    changes: list[tuple[str, str, str]]


class AdvancedLevel(msgspec.Struct):
    side: str
    price_level: str
    new_quantity: str


class AdvancedEvent(msgspec.Struct):
    type: str = ""
    product_id: str = ""
    updates: list[AdvancedLevel] = []


class Wire(msgspec.Struct):
    """What tells a frame's kind, on either feed."""

    type: str = ""
    channel: str = ""
    events: list[AdvancedEvent] = []


Message: TypeAlias = Snapshot | Update
View: TypeAlias = BookView[Message]

TOP = 10


def exchange_messages(path: Path) -> Iterator[Message]:
    for frame in read(path):
        kind = msgspec.json.decode(frame.data, type=Wire).type
        if kind == "snapshot":
            yield msgspec.json.decode(frame.data, type=Snapshot)
        elif kind == "l2update":
            yield msgspec.json.decode(frame.data, type=Update)


def advanced_messages(path: Path) -> Iterator[Message]:
    for frame in read(path):
        wire = msgspec.json.decode(frame.data, type=Wire)
        for event in wire.events if wire.channel == "l2_data" else ():
            levels = [(level.side, level.price_level, level.new_quantity) for level in event.updates]
            if event.type == "snapshot":
                yield Snapshot(
                    event.product_id,
                    [(price, size) for side, price, size in levels if side == "bid"],
                    [(price, size) for side, price, size in levels if side == "offer"],
                )
            else:
                yield Update(event.product_id, levels)


def naive_levels(messages: list[Message]) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
    """All levels that two dicts come to have by the messages of one product."""
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    for message in messages:
        if isinstance(message, Snapshot):
            bids = {Decimal(price): Decimal(size) for price, size in message.bids}
            asks = {Decimal(price): Decimal(size) for price, size in message.asks}
        else:
            for side, price, size in message.changes:
                (bids if side in {"buy", "bid"} else asks)[Decimal(price)] = Decimal(size)
    kept_bids = sorted(((price, size) for price, size in bids.items() if size), reverse=True)
    return kept_bids, sorted((price, size) for price, size in asks.items() if size)


def book_of(messages: list[Message]) -> OrderBook:
    book = OrderBook()
    for message in messages:
        if isinstance(message, Snapshot):
            book.apply_snapshot(message.bids, message.asks)
        else:
            book.apply_update(message.changes)
    return book


def check_books(messages: list[Message]) -> None:
    """Every message makes a view, none is crossed, and the last books are those of a naive one, to the last level."""
    last: dict[str, View] = {}
    troubles: list[BookTrouble[Message]] = []
    seen = 0

    def on_view(view: View) -> None:
        nonlocal seen
        seen += 1
        last[view.product] = view

    reactivex.from_iterable(messages).pipe(
        order_books(top=TOP, emit="every", troubled=troubles.append, scheduler=TestScheduler())
    ).subscribe(on_view)

    assert seen == len(messages)
    assert troubles == []
    assert last.keys() == {message.product_id for message in messages}
    for product, view in last.items():
        own = [message for message in messages if message.product_id == product]
        book = book_of(own)
        assert (list(book.bids()), list(book.asks())) == naive_levels(own)
        assert (view.bids, view.asks) == book.top(TOP)


def test_ten_books_of_the_exchange_feed_are_never_crossed(real_recording: RealRecording) -> None:
    messages = list(exchange_messages(real_recording("exchange-2021")))
    assert sum(isinstance(message, Snapshot) for message in messages) == 10
    assert sum(isinstance(message, Update) for message in messages) == 5_803

    check_books(messages)


def test_two_books_of_the_advanced_feed_are_never_crossed(real_recording: RealRecording) -> None:
    messages = list(advanced_messages(real_recording("advanced-2026")))
    snapshots = [message for message in messages if isinstance(message, Snapshot)]
    updates = [message for message in messages if isinstance(message, Update)]
    assert sum(len(message.bids) + len(message.asks) for message in snapshots) == 69_334
    assert sum(len(message.changes) for message in updates) == 2_801

    check_books(messages)
