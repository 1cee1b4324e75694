"""What is said on an open WebSocket: the subscription, pings in a silence, and message after message."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import websocket
from websocket import ABNF

from rxbridge.coinbase import problems
from rxbridge.coinbase.answers import Answers
from rxbridge.coinbase.framing import WebSocket
from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.coinbase.negotiation import Negotiation
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.coinbase.transport import DeadlineExceededError, DeadlineSocket
from rxbridge.coinbase.watchdog import PING, Watchdog
from rxbridge.errors import FeedStalled


class Session:
    """One open connection. Everything happens in the thread that iterates over `messages`.

    The negotiation is about the products `asked`; it is told when others come in force, and which books are in doubt.
    """

    def __init__(
        self,
        opened: WebSocket,
        transport: DeadlineSocket,
        negotiation: Negotiation,
        answers: Answers,
        *,
        in_force: ProductsInForce,
        in_doubt: BooksInDoubt,
        asked: tuple[str, ...],
        url: str,
        stall_seconds: float,
    ) -> None:
        self._websocket = opened
        self._transport = transport
        self._negotiation = negotiation
        self._answers = answers
        self._in_force = in_force
        self._in_doubt = in_doubt
        self._asked = asked
        self._url = url
        self._stall_seconds = stall_seconds
        self._watchdog = Watchdog(stall_seconds, monotonic())

    def messages(self) -> Iterator[bytes]:
        """Subscribe, then give every text and binary message as it comes; what is ours to do waits until it is taken.

        Raises:
            ConnectionLost: The connection ended, properly or not.
            FeedStalled: Nothing came for too long.
            SubscriptionRejected: Coinbase takes no product.
        """
        try:
            yield from self._messages()
        except problems.CAUSES as cause:
            error = problems.broken(self._url, cause)
            if error.code in (websocket.STATUS_PROTOCOL_ERROR, websocket.STATUS_MESSAGE_TOO_BIG):
                self._websocket.send_close(error.code)
            raise error from cause

    def _messages(self) -> Iterator[bytes]:
        receive, answer_in = self._websocket.receive, self._answers.answer_in
        watchdog, negotiation = self._watchdog, self._negotiation
        in_force, asked = self._in_force, self._asked
        in_doubt, doubts = self._in_doubt, None
        index = 0
        negotiation.start(monotonic())
        self._set_deadline()
        while True:
            # Another thread changes it, and something comes every second, if only a heartbeat: soon enough.
            if in_force.current is not asked:
                asked = in_force.current
                negotiation.change(asked, monotonic(), index)
                self._set_deadline()
            if in_doubt.current is not doubts:
                doubts = in_doubt.current
                negotiation.doubt(doubts, monotonic())
                self._set_deadline()
            try:
                opcode, data = receive()
            except DeadlineExceededError:
                self._on_deadline(monotonic(), index)
                continue
            if opcode == ABNF.OPCODE_TEXT or opcode == ABNF.OPCODE_BINARY:  # noqa: PLR1714, a tuple costs more here
                yield data
                index += 1
                answer = answer_in(data)
                # The clock of the silence starts here: while the subscriber was busy, nobody listened.
                watchdog.alive_at = monotonic()
                if answer is not None:
                    negotiation.on_answer(answer, watchdog.alive_at, index)
                    self._set_deadline()
            elif opcode == ABNF.OPCODE_CLOSE:
                raise problems.closed(self._url, data)
            elif opcode == ABNF.OPCODE_PONG:
                watchdog.pong(data)

    def _on_deadline(self, now: float, index: int) -> None:
        if now >= self._negotiation.deadline:
            self._negotiation.on_time(now, index, self._websocket.progress)
        if now >= self._watchdog.deadline:
            finding = self._watchdog.look(now, self._websocket.progress)
            if finding == "stalled":
                raise FeedStalled(self._url, self._stall_seconds, answers_pings=self._watchdog.answers_pings)
            if finding == "ping":
                self._websocket.ping(PING)
        self._set_deadline()

    def _set_deadline(self) -> None:
        self._transport.deadline = min(self._watchdog.deadline, self._negotiation.deadline)
