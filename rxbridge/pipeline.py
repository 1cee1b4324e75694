"""The main chain, pure: frames in, batches of events out.

    frames ─► parse ─► asked for ─► dedupe ─► to event ─► batch ─► (the sink)

What fails on the way is no error of the stream: it becomes a dead letter, and the next frame goes on. Every frame is
counted on exactly one way out, so that at any moment

    received = delivered + dead + waiting in hand      and      frames = received + ignored + repeated
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache, partial
from typing import Literal, TypeAlias

from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators import attempt, batch, dedupe, parse
from rxbridge import books
from rxbridge.book_parts import in_parts
from rxbridge.books import Books
from rxbridge.channel_history import ChannelHistory
from rxbridge.coinbase.decoding import decode
from rxbridge.custom_pipelines import Run, counts_always, custom_events
from rxbridge.errors import MalformedFrame
from rxbridge.events import EncodedEvent, Rules, encode, event_id, to_event
from rxbridge.journal import DeadLetter
from rxbridge.messages import (
    Auction,
    BookImage,
    BookPart,
    Candle,
    EventMessage,
    Frame,
    GapNotice,
    Message,
    Order,
    ProductStatus,
    RfqMatch,
    Ticker,
    Trade,
    Unknown,
)
from rxbridge.telemetry.statistics import DeliveryStatistics

KeepDeadLetter: TypeAlias = Callable[[DeadLetter], None]

REMEMBERED_IDS = 20_000
"""How many event ids are remembered to know a repeat. An older repeat is sent, and PulseStream knows it by its id."""

_MESSAGES_OF: dict[str, tuple[type[EventMessage], ...]] = {
    "ticker": (Ticker,),
    "ticker_batch": (Ticker,),
    "matches": (Trade,),
    "candles": (Candle,),
    books.CHANNEL: (BookImage, BookPart),
    "status": (ProductStatus,),
    "auctionfeed": (Auction,),
    "full": (Trade, Order),
    "rfq_matches": (RfqMatch,),
}


def events(
    *,
    channels: Collection[str] | ChannelHistory,
    rules: Rules,
    statistics: DeliveryStatistics,
    dead_letter: KeepDeadLetter,
    seen: Iterable[str] = (),
    told: Callable[[EventMessage], None] | None = None,
    kept_books: Books | None = None,
) -> Callable[[Observable[Frame]], Observable[EncodedEvent]]:
    """Frames to events, in order, each once.

    Args:
        channels: Whose messages become events, which may change from frame to frame; those of others are ignored, and
            counted so.
        rules: How messages become events, which may change from frame to frame.
        statistics: Where to count.
        dead_letter: Is given what fails.
        seen: Ids of events that were made before, oldest first; they are not made again.
        told: Is told of every message that is about to become an event.
        kept_books: Order books as they were before the first frame; without them there are no images of books.
    """
    asked = _history(channels)

    def ignore(message: Message) -> None:
        statistics.ignored += 1
        statistics.unknown += isinstance(message, Unknown)

    def repeat(_: EventMessage) -> None:
        statistics.repeated += 1

    def unparsed(frame: Frame, error: Exception) -> None:
        statistics.received += 1
        dead_letter(_letter(frame, "", "parse", error))

    def unmapped(message: EventMessage, error: Exception) -> None:
        statistics.received += 1
        dead_letter(_letter(message.frame, event_id(message), "map", error))

    def encoded(message: EventMessage) -> EncodedEvent:
        frame = message.frame
        event = to_event(message, rules.at(frame.offset), now=time.time_ns())
        statistics.received += 1
        return encode(event, frame.offset, frame.received_at, message.part)

    def chain(frames: Observable[Frame]) -> Observable[EncodedEvent]:
        decoded: Callable[[Frame], Sequence[Message]] = decode
        if kept_books is not None:
            decoded = partial(kept_books.read, unparsed=unparsed)

        messages = frames.pipe(
            parse(_counting_empty(decoded, statistics), unparsed),
            _asked_for(asked, otherwise=ignore),
            dedupe(event_id, remember=REMEMBERED_IDS, seen=seen, repeated=repeat),
        )
        if told is not None:
            messages = messages.pipe(ops.do_action(told))
        return messages.pipe(attempt(encoded, unmapped))

    return chain


def events_of(
    run: Run,
    *,
    channels: Collection[str] | ChannelHistory,
    rules: Rules,
    statistics: DeliveryStatistics,
    dead_letter: KeepDeadLetter,
    seen: Iterable[str] = (),
    told: Callable[[EventMessage], None] | None = None,
    kept_books: Books | None = None,
) -> Callable[[Observable[Frame]], Observable[EncodedEvent]]:
    """Frames to the events of all pipelines that run; what else there is to say, `events` says.

    Where users' pipelines run, the frames begin where their state does, and the built-in one is given those behind
    `run.after`.
    """

    def builtin(keep: KeepDeadLetter) -> Callable[[Observable[Frame]], Observable[EncodedEvent]]:
        return events(
            channels=channels,
            rules=rules,
            statistics=statistics,
            dead_letter=keep,
            seen=seen,
            told=told,
            kept_books=kept_books,
        )

    pipelines = run.pipelines
    if not pipelines.custom and run.counts is counts_always:
        return builtin(dead_letter)
    return custom_events(
        run,
        builtin if pipelines.builtin else None,
        environment=rules.at(0).environment,
        statistics=statistics,
        dead_letter=dead_letter,
    )


def batches(
    *, count: int | Callable[[], int], seconds: float, size_bytes: int, scheduler: SchedulerBase
) -> Callable[[Observable[EncodedEvent]], Observable[Sequence[EncodedEvent]]]:
    """Events to batches of at most `count` events and `size_bytes`, closed `seconds` after their first event."""
    return batch(count=count, seconds=seconds, bytes=size_bytes, size=_size, scheduler=scheduler)


def ids(frames: Iterable[Frame], channels: Collection[str] | ChannelHistory) -> Iterable[str]:
    """The ids of the events that the frames make, repeats included; what makes none is passed over."""
    asked = _history(channels)
    for frame in frames:
        wanted = _wanted(asked.at(frame.offset))
        try:
            messages = decode(frame)
        except MalformedFrame:
            continue
        for message in messages:
            if isinstance(message, wanted):
                yield event_id(message)


def count_events(frame: Frame, channels: Collection[str], *, whole_books: bool = False) -> int:
    """How many events a frame counts for: a malformed one for one, as it would have been a dead letter.

    Of images of books nobody knows; where books are delivered whole, their parts count.
    """
    try:
        messages: Sequence[Message] = decode(frame)
        if whole_books:
            messages = in_parts(frame, messages)
    except MalformedFrame:
        return 1
    wanted = _wanted(tuple(channels))
    return sum(isinstance(message, wanted) for message in messages)


def _counting_empty(
    decoded: Callable[[Frame], Sequence[Message]], statistics: DeliveryStatistics
) -> Callable[[Frame], Sequence[Message]]:
    """The same, counting a frame that holds no message, such as one of Advanced Trade without any events."""

    def read(frame: Frame) -> Sequence[Message]:
        before = statistics.received
        messages = decoded(frame)
        if not messages and statistics.received == before:
            statistics.ignored += 1
        return messages

    return read


def _size(event: EncodedEvent) -> int:
    return len(event.body)


def _history(channels: Collection[str] | ChannelHistory) -> ChannelHistory:
    return channels if isinstance(channels, ChannelHistory) else ChannelHistory.of(channels)


def _asked_for(
    asked: ChannelHistory, otherwise: Callable[[Message], None]
) -> Callable[[Observable[Message]], Observable[EventMessage]]:
    """Pass what came for the channels that were asked for; `only`, if that could not change."""

    def operator(source: Observable[Message]) -> Observable[EventMessage]:
        def subscribe(observer: ObserverBase[EventMessage], scheduler: SchedulerBase | None = None) -> DisposableBase:
            def on_next(message: Message) -> None:
                if isinstance(message, _wanted(asked.at(message.frame.offset))):
                    observer.on_next(message)
                else:
                    otherwise(message)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


@lru_cache
def _wanted(channels: tuple[str, ...]) -> tuple[type[EventMessage], ...]:
    """What becomes an event: what the channels send, and whatever rxbridge has to say of gaps."""
    return (*(kind for channel in channels for kind in _MESSAGES_OF.get(channel, ())), GapNotice)


def _letter(frame: Frame, event: str, stage: Literal["parse", "map"], error: Exception) -> DeadLetter:
    now = time.time_ns()
    return DeadLetter(
        offset=frame.offset,
        event_id=event,
        stage=stage,
        reason=str(error) or type(error).__name__,
        content=frame.data,
        first_attempt=now,
        last_attempt=now,
    )
