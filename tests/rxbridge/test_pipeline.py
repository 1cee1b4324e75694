"""The main chain, pure: every frame goes exactly one way."""

import json
from typing import Any

import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.scheduler import VirtualTimeScheduler

from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import DeadLetter
from rxbridge.messages import Frame
from rxbridge.pipeline import batches, count_events, events, ids
from rxbridge.telemetry.statistics import DeliveryStatistics

CHANNELS = ("ticker", "matches")


def frame(offset: int, content: Any) -> Frame:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Frame(data=data, received_at=1_700_000_000_000_000_000 + offset, connection=1, index=offset, offset=offset)


def match(trade: int, kind: str = "match") -> dict[str, Any]:
    return {
        "type": kind,
        "trade_id": trade,
        "product_id": "BTC-USD",
        "price": "1.5",
        "size": "2",
        "side": "buy",
        "time": "2023-11-14T22:13:20.1Z",
    }


def ticker(trade: int) -> dict[str, Any]:
    return {
        "type": "ticker",
        "trade_id": trade,
        "product_id": "BTC-USD",
        "price": "1.5",
        "time": "2023-11-14T22:13:20.1Z",
    }


OTHERS: list[Any] = [
    {"type": "heartbeat", "product_id": "BTC-USD", "last_trade_id": 0},
    {"type": "subscriptions", "channels": []},
    {"type": "something new"},
    [1, 2, 3],
]
MALFORMED = [b"{", b"", b"\xff\xfe", b'{"type":"match","price":{}}', b'"\\ud800']


def run(frames: list[Frame], **options: Any) -> tuple[list[EncodedEvent], list[DeadLetter], DeliveryStatistics]:
    made: list[EncodedEvent] = []
    letters: list[DeadLetter] = []
    statistics = DeliveryStatistics()
    arguments: dict[str, Any] = {"channels": CHANNELS, "rules": EventRules("test")} | options
    chain = events(statistics=statistics, dead_letter=letters.append, **arguments)
    reactivex.from_iterable(frames).pipe(chain).subscribe(made.append)
    return made, letters, statistics


content = st.one_of(
    st.builds(match, st.integers(1, 5)),
    st.builds(match, st.integers(1, 5), st.just("last_match")),
    st.builds(ticker, st.integers(1, 5)),
    st.sampled_from(OTHERS),
    st.sampled_from(MALFORMED),
)


@given(st.lists(content, max_size=40))
def test_every_frame_becomes_an_event_a_dead_letter_a_repeat_or_is_ignored(contents: list[Any]) -> None:
    frames = [frame(offset, content) for offset, content in enumerate(contents, 1)]

    made, letters, statistics = run(frames)

    assert len(frames) == statistics.received + statistics.ignored + statistics.repeated
    assert statistics.received == len(made) + len(letters)
    assert [event.offset for event in made] == sorted(event.offset for event in made)
    assert len({event.event_id for event in made}) == len(made)
    assert set(ids(frames, CHANNELS)) == {event.event_id for event in made}
    assert sum(count_events(each, CHANNELS) for each in frames) == statistics.received + statistics.repeated


def test_a_malformed_frame_is_a_dead_letter_with_its_offset_and_content() -> None:
    made, (letter,), _ = run([frame(1, match(1)), frame(2, b"{torn"), frame(3, match(2))])

    assert [event.offset for event in made] == [1, 3]
    assert (letter.offset, letter.stage, letter.content) == (2, "parse", b"{torn")
    assert "malformed" in letter.reason


def test_last_match_repeats_the_trade_that_is_already_held() -> None:
    made, _, statistics = run([frame(1, match(7)), frame(2, match(7, "last_match")), frame(3, match(8))])

    assert [event.event_id for event in made] == ["coinbase-BTC-USD-match-7", "coinbase-BTC-USD-match-8"]
    assert statistics.repeated == 1


def test_a_trade_that_comes_late_is_no_repeat() -> None:
    made, _, _ = run([frame(1, match(9)), frame(2, match(8))])

    assert [event.event_id[-1] for event in made] == ["9", "8"]


def test_what_was_made_before_the_start_is_not_made_again() -> None:
    made, _, statistics = run([frame(1, match(1)), frame(2, match(2))], seen=["coinbase-BTC-USD-match-1"])

    assert [event.offset for event in made] == [2]
    assert statistics.repeated == 1


def test_channels_that_are_not_wanted_are_ignored() -> None:
    made, _, statistics = run([frame(1, match(1)), frame(2, ticker(1))], channels=("ticker",))

    assert [event.offset for event in made] == [2]
    assert statistics.ignored == 1


def test_unknown_frames_are_counted_among_the_ignored() -> None:
    _, _, statistics = run([frame(offset, each) for offset, each in enumerate(OTHERS, 1)])

    assert (statistics.ignored, statistics.unknown, statistics.received) == (4, 2, 0)


def test_batches_close_by_count_by_size_and_by_time() -> None:
    made, _, _ = run([frame(offset, match(offset)) for offset in range(1, 8)])
    size = len(made[0].body)
    clock = VirtualTimeScheduler()
    closed: list[tuple[float, list[int]]] = []
    at = {0.0: made[:3], 1.0: made[3:5], 1.1: made[5:6], 5.0: made[6:]}
    source = reactivex.merge(
        *(
            reactivex.timer(seconds, scheduler=clock).pipe(
                ops.flat_map(lambda _, some=some: reactivex.from_iterable(some))
            )
            for seconds, some in at.items()
        )
    )
    source.pipe(batches(count=3, seconds=0.5, size_bytes=int(size * 2.5), scheduler=clock)).subscribe(
        lambda batch: closed.append((clock.clock, [event.offset for event in batch]))
    )
    clock.start()

    # Two fit the bytes; the third waits its half second alone; so do the next two with the one that comes meanwhile.
    assert closed == [(0.0, [1, 2]), (0.5, [3]), (1.1, [4, 5]), (1.6, [6]), (5.0, [7])]
