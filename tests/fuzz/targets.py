"""What is fuzzed: each target takes any bytes, does with them what rxbridge would do, and asserts what must hold then.

A target raises nothing but AssertionError and what nobody has foreseen; both are findings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import websocket

from rxbridge.books import Books
from rxbridge.coinbase import problems
from rxbridge.coinbase.advanced_protocol import ADVANCED
from rxbridge.coinbase.answers import Acknowledged, Answer, Refused
from rxbridge.coinbase.decoding import decode
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.coinbase.framing import WebSocket, _BoundedFrames
from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.rest import _detail, _retry_after, _trades
from rxbridge.coinbase.subscription import Action, NothingLeft, Send, Subscription
from rxbridge.coinbase.transport import DeadlineExceededError, DeadlineSocket
from rxbridge.errors import DeliveryError, MalformedFrame, RestFailed, RxBridgeError
from rxbridge.events import EncodedEvent, EventRules, encode, event_id, to_event
from rxbridge.events.raw import embeddable
from rxbridge.messages import (
    Auction,
    BookImage,
    BookPart,
    Candle,
    EventMessage,
    FeedErrorMessage,
    Frame,
    GapNotice,
    Order,
    ProductStatus,
    RfqMatch,
    Subscriptions,
    Ticker,
    Trade,
)
from rxbridge.pipeline import count_events, ids
from rxbridge.pulsestream.answers import HttpAnswer, failure, read_batch
from rxbridge.pulsestream.answers import decode as decode_answer
from rxbridge.pulsestream.client import SearchPage
from rxbridge.pulsestream.limits import LONGEST_PAUSE_SECONDS
from rxbridge.telemetry.redaction import Redactor
from tests.fuzz import seeds
from tests.fuzz.acceptance import require_accepted

CHANNELS = ("ticker", "matches", "candles", "status", "auctionfeed", "full", "rfq_matches")
MARKET = (Ticker, Trade, Candle, ProductStatus, Auction, Order, RfqMatch)
"""What these bring."""

RECEIVED_AT = 1_769_846_400_000_000_000
"""2026-01-31T08:00:00Z"""

LONGEST_WORDS = 20_000
"""Characters of an error's message."""

KEY = "fuzz-Key/4+bQ9~xW2_zR7.tT"
_HIDE = Redactor([KEY])
_ESCAPE = re.compile(r"\\(?:x..|u....|U........)")

FRAME_LIMIT = 100_000
"""`max_frame_bytes` of the WebSocket that is fuzzed."""


@dataclass(frozen=True)
class Target:
    """A function to fuzz, and where to begin.

    Attributes:
        run: Takes an input; raises if it is a finding.
        seeds: Inputs to begin with.
        weight: Its share of the inputs.
    """

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    weight: int = 1


def frames(data: bytes) -> None:
    """Parse and mapping: messages or a malformed frame, and every event is one that PulseStream takes."""
    frame = Frame(data, RECEIVED_AT, connection=1, index=2, offset=3)
    _require_counts(frame)
    try:
        messages = decode(frame)
    except MalformedFrame as error:
        _require_plain(error)
        return
    for position, message in enumerate(messages):
        assert message.frame is frame
        assert (message.part.index, message.part.count) == (position, len(messages))
        assert not isinstance(message, (GapNotice, BookImage, BookPart)), "no frame from outside speaks for rxbridge"
        if isinstance(message, MARKET):
            assert not getattr(message, "is_backfilled", False)
            _require_event(message, frame)


def books(data: bytes) -> None:
    """Frames, one a line: books are followed or discarded, and PulseStream takes every image, and every part."""
    kept, whole = Books(EventRules(book_depth=3, book_seconds=1.0)), Books(EventRules(book="full"))
    for number, line in enumerate(data.split(b"\n")[:50], 1):
        frame = Frame(line, RECEIVED_AT + number * 400_000_000, connection=1, index=number, offset=number)
        for message in kept.read(frame):
            if isinstance(message, BookImage):
                assert len(message.bids) <= 3 >= len(message.asks)
                _require_event(message, frame)
        for message in whole.read(frame):
            if isinstance(message, BookPart):
                assert (message.checksum is not None) == (message.chunk == message.chunks - 1)
                _require_event(message, frame)


def own_frames(data: bytes) -> None:
    """Frames that rxbridge made, read from a journal that somebody may have damaged."""
    frame = Frame(data, RECEIVED_AT, connection=0, index=0, offset=3)
    try:
        messages = decode(frame)
    except MalformedFrame as error:
        _require_plain(error)
        return
    for message in messages:
        if isinstance(message, (*MARKET, GapNotice)):
            with suppress(OverflowError):  # a gap before the year 1 or after 9999, which becomes a dead letter
                _require_event(message, frame)


def _require_event(message: EventMessage, frame: Frame) -> None:
    event = encode(to_event(message, now=RECEIVED_AT), frame.offset, frame.received_at, message.part)
    parsed = require_accepted(event, frame.received_at)
    assert event.event_id == event_id(message)
    assert len(event.body) < 20_000 + 7 * len(frame.data)
    invalid = parsed["payload"].get("invalid_fields", [])
    for name in ("raw_ticker", "raw_match", "raw_candle", "raw_status", "raw_auction", "raw_order"):
        if name in parsed["payload"] and name not in invalid:
            # `loads` keeps the last of a repeated key, as the server does.
            assert parsed["payload"][name] == json.loads(message.data), "what is not named is as it was"


def _require_counts(frame: Frame) -> None:
    """What the audit and a full journal count is what the delivery makes: one event, one dead letter, or nothing."""
    counted = count_events(frame, CHANNELS)
    named = list(ids([frame], CHANNELS))
    try:
        made = sum(isinstance(message, MARKET) for message in decode(frame))
    except MalformedFrame:
        assert (counted, named) == (1, [])
    else:
        assert counted == made == len(named)


def embedding(data: bytes) -> None:
    """The frame within its event: strict JSON, and of the same meaning where it was fit."""
    embedded = embeddable(data)
    value = json.loads(embedded)
    if embedded is data:
        assert value == json.loads(data)
    again = embeddable(embedded)
    assert json.loads(again) == value, "what was made fit stays as it is"


def subscription(data: bytes) -> None:
    """Answers, one a line, to the state machine that subscribes: it asks for what is wanted, at its pace, or ends."""
    for action in _subscribe(EXCHANGE, data, _require_recognized):
        if isinstance(action, Send):
            assert set(action.wanted) <= {"ticker", "matches", "heartbeat"}
            assert all(set(products) <= {"BTC-USD", "ETH-USD"} for products in action.wanted.values())
            assert action.wanted


def advanced_subscription(data: bytes) -> None:
    """Likewise, of Advanced Trade: it asks for one channel a message, and for heartbeats without products."""
    for action in _subscribe(ADVANCED, data, _require_recognized_of_advanced):
        if isinstance(action, Send):
            ((channel, products),) = action.wanted.items()
            assert channel in {"ticker", "matches", "heartbeats"}
            assert set(products) <= ({"heartbeats"} if channel == "heartbeats" else {"BTC-USD", "ETH-USD"})
            assert products


def _subscribe(
    protocol: FeedProtocol, data: bytes, require_recognized: Callable[[bytes, Answer | None], None]
) -> list[Action]:
    machine = Subscription(["BTC-USD", "ETH-USD"], ["ticker", "matches"], protocol=protocol, acknowledge_seconds=5.0)
    actions = list(machine.start(0.0))
    for second, line in enumerate(data.split(b"\n")[:50], start=1):
        answer = protocol.answers.answer_in(line)
        require_recognized(line, answer)
        if answer is not None:
            actions += machine.on_answer(answer, float(second))
        if machine.deadline <= second:
            actions += machine.on_time(float(second))
        if any(isinstance(action, NothingLeft) for action in actions):
            break
    return actions


def _require_recognized_of_advanced(line: bytes, answer: Answer | None) -> None:
    assert not (ADVANCED.answers.is_data(line) and answer is not None)
    if line.startswith(ADVANCED.answers.data) or line.count(b'"channel"') != 1 or b'"type":"error"' in line:
        return
    if b"\\" in line or b"null" in line:
        return  # what only the lenient decoder takes is no answer, and is asked for again
    with suppress(MalformedFrame):
        if any(isinstance(message, Subscriptions) for message in decode(Frame(line, RECEIVED_AT, 1, 1))):
            assert isinstance(answer, Acknowledged)


def _require_recognized(line: bytes, answer: Answer | None) -> None:
    assert not (EXCHANGE.answers.is_data(line) and answer is not None)
    if line.count(b'"type"') != 1 or line.startswith(b'{"type":"m'):
        return
    with suppress(MalformedFrame):
        (message,) = decode(Frame(line, RECEIVED_AT, 1, 1))
        if isinstance(message, FeedErrorMessage) and b"\\" not in line and b"null" not in line:
            assert isinstance(answer, Refused)
        if isinstance(message, Subscriptions) and b"\\" not in line and b"null" not in line:
            assert isinstance(answer, Acknowledged)


EVENTS = tuple(
    EncodedEvent(name, name, 1.0, number, datetime(2026, 1, 31, 8, tzinfo=UTC).replace(tzinfo=None), b"{}")
    for number, name in enumerate(("one", "two"), start=1)
)
_STATUSES = (200, 200, 200, 400, 401, 404, 413, 422, 429, 429, 500, 502, 503, 504, 302, 204)


def sink_answers(data: bytes) -> None:
    """PulseStream's answer to a batch of two: an outcome for each, or an error that says what to do.

    The first byte chooses the status; headers are the first line, separated by `|`; the rest is the body.
    """
    answer = _answer(data)
    try:
        read = read_batch(answer, EVENTS, _HIDE)
    except DeliveryError as error:
        _require_plain(error)
        _require_hidden(str(error))
        if (at := getattr(error, "resume_at", None)) is not None:
            assert answer.received_at <= at <= answer.received_at + LONGEST_PAUSE_SECONDS
        return
    assert answer.status == 200
    assert len(read.outcomes) == len(EVENTS)
    assert answer.received_at <= read.resume_at <= answer.received_at + LONGEST_PAUSE_SECONDS
    for outcome in read.outcomes:
        _require_hidden(" ".join(outcome.reasons))


def search_answers(data: bytes) -> None:
    """PulseStream's answer to a search, read as a page, or as what failed."""
    answer = _answer(data)
    try:
        if answer.status != 200:
            raise failure(answer, _HIDE)
        page = decode_answer(msgspec.json.Decoder(SearchPage), answer, _HIDE)
    except DeliveryError as error:
        _require_plain(error)
        _require_hidden(str(error))
    else:
        assert isinstance(page.total_count, int)


def _answer(data: bytes) -> HttpAnswer:
    status = _STATUSES[data[0] % len(_STATUSES)] if data else 200
    head, _, body = data[1:].partition(b"\n")
    values = head.decode("latin-1").split("|")
    headers: dict[str, str] = dict(zip(("Date", "Retry-After", "Location"), values, strict=False))
    return HttpAnswer("http://sink", status, headers, body, received_at=RECEIVED_AT / 1e9, seconds=0.1)


def rest_answers(data: bytes) -> None:
    """Coinbase's list of trades: each is mapped as the trade that it is, or left out."""
    _detail(data).encode("utf-8", "surrogatepass")
    head, _, _ = data.partition(b"\n")
    seconds = _retry_after({"Retry-After": head.decode("latin-1"), "Date": head.decode("latin-1")}, RECEIVED_AT / 1e9)
    assert seconds is None or 0 <= seconds <= 300
    try:
        trades = _trades("http://rest", data)
    except RestFailed as error:
        _require_plain(error)
        return
    found = [trade.trade_id for trade in trades]
    assert found == sorted(set(found))
    assert all(0 < trade_id < 2**63 for trade_id in found)


def wire(data: bytes) -> None:
    """Any bytes on an open WebSocket: messages within the limit, then one of the known errors; however they are cut."""
    whole = list(_messages(data, len(data) or 1))
    assert whole == list(_messages(data, 1 + len(data) % 7))
    for payload in whole[:-1]:
        assert len(cast("bytes", payload)) <= FRAME_LIMIT


def _messages(data: bytes, piece: int) -> Iterator[bytes | str]:
    """The payloads, and at last the name of the error."""
    transport = _Replay(data, piece)
    opened = WebSocket(FRAME_LIMIT)
    opened.sock = cast("Any", transport)
    opened.frame_buffer = _BoundedFrames(transport.recv, FRAME_LIMIT)
    try:
        while True:
            opcode, payload = opened.receive()
            yield bytes([opcode]) + payload if opcode != websocket.ABNF.OPCODE_TEXT else payload
    except problems.CAUSES as error:
        lost = problems.broken("ws://feed", error)
        _require_plain(lost)
        yield type(error).__name__


def handshake(data: bytes) -> None:
    """Any bytes as the answer to a WebSocket handshake: it is open, or there is one of the known errors."""
    transport = _Replay(data, 4096)
    try:
        WebSocket(FRAME_LIMIT).open("ws://feed/", cast("DeadlineSocket", transport))
    except problems.CAUSES as error:
        _require_plain(problems.not_opened("ws://feed/", error))


class _Replay:
    """A connection that says what it is given and then ends."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data = data
        self._piece = piece
        self._position = 0

    def recv(self, size: int) -> bytes:
        """The next bytes; those of a handshake end with a deadline where they ask for more."""
        piece = self._data[self._position : self._position + min(size, self._piece)]
        self._position += len(piece)
        if not piece:
            raise DeadlineExceededError
        return piece

    def send(self, data: bytes) -> int:
        """Swallow it."""
        return len(data)

    def gettimeout(self) -> float:
        """websocket-client asks."""
        return 1.0

    def fileno(self) -> int:
        """None; nothing waits for room to send."""
        raise OSError("no descriptor")

    def close(self) -> None:
        """Nothing to close."""


def redaction(data: bytes) -> None:
    """Text around and out of a key: the key is gone, and other text stays."""
    text = data.decode("utf-8", "replace")
    hidden = _HIDE(text)
    _require_hidden(hidden)
    if KEY[:12].lower() not in text.lower() and hidden != text:
        assert "(hidden)" in hidden


def _require_plain(error: RxBridgeError) -> None:
    """One line of moderate length, of what can be seen."""
    text = str(error)
    assert text.isprintable(), ascii(text[:200])
    assert len(text) < LONGEST_WORDS


def _require_hidden(text: str) -> None:
    # The digit that ends an escape is none of the key's.
    shown = _ESCAPE.sub("?", text)
    assert KEY[:12].lower() not in shown.lower()


def _with_head(answers: Sequence[bytes], heads: Sequence[bytes]) -> list[bytes]:
    return [head + b"\n" + answer for head in heads for answer in answers]


_HEADS = (
    b"\0Sat, 31 Jan 2026 08:00:00 GMT||",
    b"\x03|",
    b"\x08|120|",
    b"\x09||Sat, 31 Jan 2026 09:00:00 GMT",
    b"\x0e||/x",
)
_KEYED = (f'{{"message":"no {KEY}"}}'.encode(), KEY.encode() * 12)

TARGETS: dict[str, Target] = {
    "frames": Target(frames, (*seeds.FRAMES, *seeds.ADVANCED_FRAMES), weight=6),
    "books": Target(books, (b"\n".join(seeds.BOOKS), b"\n".join(seeds.ADVANCED_BOOKS)), weight=2),
    "own_frames": Target(own_frames, (*seeds.FRAMES[:3], seeds.GAP), weight=2),
    "embedding": Target(embedding, seeds.FRAMES, weight=2),
    "advanced_subscription": Target(
        advanced_subscription, (b"\n".join(seeds.ADVANCED_ANSWERS), *seeds.ADVANCED_ANSWERS), weight=2
    ),
    "subscription": Target(subscription, (b"\n".join(seeds.FRAMES[4:7]), *seeds.FRAMES[4:7]), weight=2),
    "sink_answers": Target(
        sink_answers, _with_head((*seeds.BATCH_ANSWERS, *seeds.ERROR_ANSWERS, *_KEYED), _HEADS), weight=4
    ),
    "search_answers": Target(search_answers, _with_head((*seeds.SEARCH_ANSWERS, *seeds.ERROR_ANSWERS), _HEADS)),
    "rest_answers": Target(rest_answers, seeds.REST_ANSWERS),
    "wire": Target(wire, seeds.WIRES),
    "handshake": Target(handshake, seeds.HANDSHAKES),
    "redaction": Target(redaction, (KEY.encode(), b"a " + KEY.upper().encode() + b" b", KEY[:14].encode())),
}
