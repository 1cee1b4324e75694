"""Event ids: PulseStream knows a repeat by them alone."""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rxbridge.events import event_id
from rxbridge.messages import BookImage, Candle, Frame, LastTrade, Part, Ticker, Trade

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_a_ticker_is_known_by_product_and_trade() -> None:
    assert event_id(Ticker(product_id="BTC-USD", trade_id=5)) == "coinbase-BTC-USD-5"


@pytest.mark.parametrize("kind", [Trade, LastTrade])
def test_a_trade_is_another_event_than_its_ticker(kind: type[Trade]) -> None:
    assert event_id(kind(product_id="BTC-USD", trade_id=5)) == "coinbase-BTC-USD-match-5"


@pytest.mark.parametrize("trade_id", [None, 0, -5, "", "five", 2**63])
@pytest.mark.parametrize("kind", [Ticker, Trade])
def test_without_a_trade_id_it_is_known_by_its_frame(
    frame: Callable[..., Frame], kind: type[Ticker] | type[Trade], trade_id: Any
) -> None:
    source = frame(b"the same bytes")

    def identity(frame: Frame) -> str:
        return event_id(kind(product_id="BTC-USD", trade_id=trade_id, time="2026-01-01T00:00:00Z", frame=frame))

    prefix = "coinbase-BTC-USD-" if kind is Ticker else "coinbase-BTC-USD-match-"
    assert identity(source).startswith(prefix)
    assert str(uuid.UUID(identity(source).removeprefix(prefix))) == identity(source).removeprefix(prefix)
    assert identity(frame(b"the same bytes", offset=99)) == identity(source)
    others = [
        frame(b"other bytes"),
        frame(b"the same bytes", index=3),
        frame(b"the same bytes", connection=5),
        frame(b"the same bytes", received_at=5),
    ]
    assert len({identity(other) for other in [source, *others]}) == 5


def test_a_ticker_of_a_product_that_was_never_traded_is_known_by_what_it_says_and_the_hour() -> None:
    def identity(received_at: int = 0, connection: int = 1, **fields: Any) -> str:
        said: dict[str, Any] = {"product_id": "NEW-USD", "price": "0", "best_bid": "9.5"} | fields
        source = Frame(b"its bytes", received_at, connection, index=received_at % 7)
        return event_id(Ticker(frame=source, **said))

    hour = 3600 * 10**9
    assert identity() == "coinbase-NEW-USD-9ec1ab84-ce97-56c1-bdd7-99b475ae4fd8"
    assert identity() == identity(received_at=hour - 1, connection=2)
    others = [identity(received_at=hour), identity(best_bid="9.6"), identity(sequence=5), identity(product_id="A-USD")]
    assert len({identity(), *others}) == 5
    assert identity(time="2026-01-01T00:00:00Z") != identity(time="2026-01-01T00:00:00Z", connection=2)


def test_the_id_of_a_frame_is_the_same_in_every_release(frame: Callable[..., Frame], match: Mapping[str, Any]) -> None:
    source = frame({**match, "trade_id": None})

    assert event_id(Trade(product_id="BTC-USD", frame=source)) == (
        "coinbase-BTC-USD-match-4e4b0b59-4822-5dc1-9873-80a91be43712"
    )


def test_a_revision_of_a_candle_is_an_event_and_the_same_again_is_a_repeat(frame: Callable[..., Frame]) -> None:
    def identity(start: Any = "1786308900", **fields: str) -> str:
        numbers: dict[str, Any] = {"open": "2", "high": "4", "low": "1", "close": "3", "volume": "5"} | fields
        return event_id(Candle(product_id="BTC-USD", start=start, frame=frame(b"any"), **numbers))

    assert identity() == "coinbase-BTC-USD-candle-1786308900-277961d5ed8af2d4"
    assert identity(1786308900) == identity()
    assert len({identity(), identity(volume="5.1"), identity(close="5", volume="3"), identity(start="0")}) == 4
    assert identity(start=None) == identity(start="none at all"), "it is known by where it came"


def test_the_parts_of_a_frame_are_told_apart(frame: Callable[..., Frame]) -> None:
    source = frame(b"the same bytes")
    parts = [Ticker(product_id="BTC-USD", frame=source, part=Part("advanced", index, 2)) for index in (0, 1)]

    assert event_id(parts[0]) == event_id(Ticker(product_id="BTC-USD", trade_id=0, frame=source))
    assert event_id(parts[1]) != event_id(parts[0])


def test_a_part_is_known_by_its_own_bytes_however_long_its_frame_is(frame: Callable[..., Frame]) -> None:
    """Else the ids of a frame of thousands of messages would take the square of its length."""

    def ticker(data: bytes, others: bytes) -> str:
        return event_id(Ticker(product_id="A", frame=frame(data + others), part=Part("advanced", 1, 3, data)))

    def image(data: bytes) -> str:
        return event_id(BookImage(product_id="A", bids=(), asks=(), at=1, frame=frame(data)))

    assert ticker(b"one", b"two") == ticker(b"one", b"three") != ticker(b"four", b"two")
    assert image(b"one") == image(b"two")


@pytest.mark.parametrize("start", [2**63 - 1, None])
def test_the_longest_id(frame: Callable[..., Frame], start: int | None) -> None:
    """docs/events.md says so."""
    assert len(event_id(Candle(product_id="x" * 41, start=start, frame=frame(b"any")))) == 94


def test_the_id_of_an_odd_product_is_the_same_in_every_release() -> None:
    assert event_id(Ticker(product_id="Ärger/\0" * 50, trade_id=5)) == (
        "coinbase-_rger___rger___rger_~ea44537b72f1db54d1b2-5"
    )


@pytest.mark.parametrize(
    "product", ["BTC-USD-match", "A-candle-5", "x" * 41, "A B", "A\nB", "A~B", "Ä", "a\0b", "a\ud800b"]
)
def test_an_odd_product_is_told_by_a_digest(product: str) -> None:
    identity = event_id(Ticker(product_id=product, trade_id=5))

    assert re.fullmatch(r"coinbase-[A-Za-z0-9._-]{1,20}~[0-9a-f]{20}-5", identity)


products = st.text() | st.from_regex(r"[A-Za-z0-9._-]{1,45}", fullmatch=True) | st.just("A-match") | st.none()
messages = st.tuples(st.sampled_from([Ticker, Trade]), products, st.integers(1, 9))


@unhurried
@given(
    st.sampled_from([Ticker, Trade, LastTrade]), products | st.text(min_size=500), st.integers() | st.text() | st.none()
)
def test_pulsestream_takes_every_id(kind: type[Ticker] | type[Trade], product: str | None, trade_id: Any) -> None:
    identity = event_id(kind(product_id=product, trade_id=trade_id))

    assert re.fullmatch(r"coinbase-[!-~]{1,91}", identity)


@unhurried
@given(messages, messages)
def test_two_trades_never_share_an_id(
    one: tuple[type[Ticker], str | None, int], other: tuple[type[Ticker], str | None, int]
) -> None:
    assume(one != other)
    assume({one[1], other[1]} - {None, "", "UNKNOWN"})

    first, second = (event_id(kind(product_id=product, trade_id=trade)) for kind, product, trade in (one, other))

    assert first != second


@given(st.binary(max_size=100), st.integers(1, 60))
def test_the_id_of_a_frame_is_the_uuid_of_its_whole_text(data: bytes, piece: int) -> None:
    frame = Frame(data=data, received_at=1, connection=2, index=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rxbridge.events.identity._PIECE_BYTES", piece)
        made = event_id(Ticker(product_id="A-B", trade_id=0, frame=frame))
    whole = uuid.uuid5(uuid.UUID("3f0c8f5e-6d0e-4a53-9a52-6d1f7b0e2c94"), "1/2/3/" + data.decode("latin-1"))
    assert made == f"coinbase-A-B-{whole}"
