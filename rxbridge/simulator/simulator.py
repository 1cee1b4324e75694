"""The simulator as other code starts it: in a thread of its own, or as a command that blocks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from threading import Thread
from types import TracebackType
from typing import Self, Unpack

from loguru import logger

from rxbridge.channels import FeedName
from rxbridge.errors import ConfigError
from rxbridge.faults import Fault, Faults
from rxbridge.simulator.authentication import Authentication, Credentials
from rxbridge.simulator.batches import STATUS_SECONDS, TICKER_BATCH_SECONDS
from rxbridge.simulator.book import DEPTH
from rxbridge.simulator.live import LiveFeed, TradeClock
from rxbridge.simulator.market import BOOK_CHANGES_PER_SECOND, TRADES_KEPT
from rxbridge.simulator.options import SimulatorOptions, check
from rxbridge.simulator.playback import TimedFrame
from rxbridge.simulator.products import products_named
from rxbridge.simulator.rest_limit import BURST, REQUESTS_PER_SECOND, RateLimit
from rxbridge.simulator.server import HOST, SimulatorServer
from rxbridge.simulator.services import live_service, recorded_service
from rxbridge.simulator.session import SimulatorStatistics


class Simulator:
    """A server on loopback that speaks either of Coinbase's protocols, in a thread and event loop of its own.

    Use it as a context manager, or call `start` and `stop`. Every method may be called from any thread.

        with Simulator(products=("BTC-USD",), rate=100.0) as simulator:
            connect_to(simulator.url)
    """

    def __init__(
        self,
        *,
        feed: FeedName = "exchange",
        products: Sequence[str] = ("BTC-USD", "ETH-USD"),
        rate: float = 20.0,
        seed: int = 1,
        port: int = 0,
        recording: Callable[[], Iterable[TimedFrame]] | None = None,
        speed: float = 1.0,
        heartbeat_seconds: float = 1.0,
        subscribe_deadline_seconds: float = 5.0,
        max_trades: int | None = None,
        start_ns: int | None = None,
        trades_kept: int = TRADES_KEPT,
        backlog_limit_bytes: int = 8 * 1024 * 1024,
        history: int = 0,
        history_seconds: float = 1.0,
        rest_requests_per_second: float = REQUESTS_PER_SECOND,
        rest_burst: int = BURST,
        faults: Iterable[Fault] = (),
        book_depth: int = DEPTH,
        book_changes_per_second: float = BOOK_CHANGES_PER_SECOND,
        ticker_batch_seconds: float = TICKER_BATCH_SECONDS,
        status_seconds: float = STATUS_SECONDS,
        credentials: Credentials | None = None,
    ) -> None:
        """Prepare a simulator: of live markets, or, with `recording`, of what was received once.

        Args:
            feed: Whose protocol the live markets speak: `exchange` or `advanced`.
            products: The products of the live markets: ids, numbers for so many made-up ones, and behind either, what
                becomes of them: `BTC-USD`, `100`, `OLD-USD:delisted`, `5:quiet`, `NEW-USD:untraded`.
            rate: Trades a second over all of them, on average; 0 for none.
            seed: The same seed makes the same trades.
            port: The TCP port; 0 for any that is free.
            recording: Opens a recording of either feed, as its frames tell: each call gives them from the start. The
                arguments that are about live markets are of no account then.
            speed: How many times faster than it was received a recording is served; infinity for as fast as the client
                reads.
            heartbeat_seconds: The time between the heartbeats of a product.
            subscribe_deadline_seconds: How long a client may take to subscribe to something.
            max_trades: How many trades to make after those that open the markets and the history; None for no end.
            start_ns: When the markets open, in nanoseconds since the Unix epoch. Time then moves with the trades alone,
                so that the frames of all trades are the same at each run. None for the real time.
            trades_kept: How many trades a product REST can look back on.
            backlog_limit_bytes: How much may wait for a client that reads too slowly, before it is disconnected.
            history: How many trades each market has made before the start, besides the one that opened it. They are
                those that the same product and seed make without a history, but for their times: to a client that
                knows the first of them, this is the market that it left, a while later.
            history_seconds: How far apart they are, on average, up to now.
            rest_requests_per_second: How many REST requests are answered; those beyond get 429. 0 for no limit.
            rest_burst: How many of them at once.
            faults: What goes wrong, and when, in seconds since clients can connect. Those of the sink do not matter.
            book_depth: How many levels each side of a book has, about.
            book_changes_per_second: How many orders come and go in each book that somebody follows.
            ticker_batch_seconds: The time between the tickers of a product on the channel `ticker_batch`.
            status_seconds: The time between the frames of the channel `status`.
            credentials: The key of who may have the Exchange's `full`, `level2` and `rfq_matches`; None for nobody.

        Raises:
            ConfigError: An argument makes no sense, or there is nothing in the recording to serve.
        """
        check(
            rate=rate,
            speed=speed,
            heartbeat_seconds=heartbeat_seconds,
            history=history,
            history_seconds=history_seconds,
            rest_requests_per_second=rest_requests_per_second,
            rest_burst=rest_burst,
            book_depth=book_depth,
            book_changes_per_second=book_changes_per_second,
            ticker_batch_seconds=ticker_batch_seconds,
            status_seconds=status_seconds,
        )
        self._live: LiveFeed | None = None
        schedule = Faults(faults, side="feed", seed=seed)
        if recording is None:
            self._live = LiveFeed(
                products_named(products),
                seed=seed,
                rate=rate,
                max_trades=max_trades,
                heartbeat_seconds=heartbeat_seconds,
                clock=TradeClock(start_ns),
                trades_kept=trades_kept,
                history=history,
                history_seconds=history_seconds,
                book_depth=book_depth,
                book_changes_per_second=book_changes_per_second,
                ticker_batch_seconds=ticker_batch_seconds,
                status_seconds=status_seconds,
            )
            authentication = None if credentials is None else Authentication(credentials)
            service = live_service(self._live, feed, seed=seed, faults=schedule, authentication=authentication)
        else:
            service = recorded_service(
                recording, speed=speed, heartbeat_seconds=heartbeat_seconds, seed=seed, faults=schedule
            )
        self._server = SimulatorServer(
            service,
            port=port,
            seed=seed,
            subscribe_deadline_seconds=subscribe_deadline_seconds,
            backlog_limit_bytes=backlog_limit_bytes,
            rest_limit=RateLimit(rest_requests_per_second, rest_burst),
            faults=schedule,
        )
        self._port = port
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: Exception | None = None

    @property
    def url(self) -> str:
        """Where the feed is, once started."""
        return f"ws://{HOST}:{self._port}"

    @property
    def rest_url(self) -> str:
        """Where REST is, once started."""
        return f"http://{HOST}:{self._port}"

    @property
    def statistics(self) -> SimulatorStatistics:
        """The counters, which go on counting."""
        return self._server.statistics

    def trades(self, product: str) -> range:
        """The ids of all trades that a live market has made: what a client that missed nothing must have.

        The first one opened the market, before anyone could connect, and the history follows; a subscribe to
        `matches` repeats the latest.

        Raises:
            KeyError: There is no such product.
            ConfigError: A recording has no market.
        """
        return self._live_feed().markets[product].trade_ids

    def start(self) -> None:
        """Start serving; returns when clients can connect. A simulator starts once.

        Raises:
            ConfigError: The port cannot be listened on.
            RuntimeError: It was started before.
        """
        if self._loop is not None:
            raise RuntimeError("a simulator starts once; make another one")
        listening: Future[int] = Future()
        self._thread = Thread(target=self._run, args=(listening,), name="rxbridge-simulator", daemon=True)
        self._thread.start()
        try:
            self._port = listening.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise

    def stop(self) -> None:
        """Close all connections and end the thread. Twice is as good as once.

        Raises:
            Exception: Whatever ended the server before its time.
        """
        if self._thread is None or self._loop is None or self._stop is None:
            return
        if self._thread.is_alive():
            # The loop is closed where the server failed just now; the reason is raised below.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def pause(self) -> None:
        """Make no more trades until `resume`, and let the books stand still; heartbeats go on.

        When this returns, `trades` stands still.

        Raises:
            ConfigError: A recording cannot be paused.
        """
        live, loop = self._live_feed(), self._running_loop()

        async def pause() -> None:
            live.pause()

        asyncio.run_coroutine_threadsafe(pause(), loop).result()

    def resume(self) -> None:
        """Make trades again, and let the books move.

        Raises:
            ConfigError: A recording cannot be paused.
        """
        live, loop = self._live_feed(), self._running_loop()
        loop.call_soon_threadsafe(live.resume)

    def disconnect_all(self, code: int | None = 1001, reason: str = "") -> int:
        """Disconnect every client, and return how many there were; they may connect again at once.

        Args:
            code: The WebSocket close code; None to cut the connections without a word.
            reason: The close reason.
        """
        return self._disconnect(code, reason, most=None)

    def disconnect_oldest(self, code: int | None = 1001, reason: str = "") -> None:
        """Disconnect the client that has been connected for the longest time, if there is one; see `disconnect_all`."""
        self._disconnect(code, reason, most=1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _disconnect(self, code: int | None, reason: str, *, most: int | None) -> int:
        loop = self._running_loop()
        return asyncio.run_coroutine_threadsafe(self._server.disconnect(code, reason, most=most), loop).result()

    def _live_feed(self) -> LiveFeed:
        if self._live is None:
            raise ConfigError("recording", "it has no market of its own")
        return self._live

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the simulator was not started")
        return self._loop

    def _run(self, listening: Future[int]) -> None:
        try:
            asyncio.run(self._serve(listening))
        except Exception as error:  # noqa: BLE001  (handed over to the thread that starts or stops the simulator)
            if listening.done():
                logger.error("simulator: ended before it was stopped: {!r}", error)
                self._failure = error
            else:
                listening.set_exception(error)

    async def _serve(self, listening: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._server.run(self._stop, listening.set_result)

    async def serve_until_signal(self, ready: Callable[[str], None]) -> None:
        """Serve in the event loop of the caller, which is that of the main thread, until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        def listening(port: int) -> None:
            self._port = port
            ready(self.url)

        try:
            await self._server.run(stop, listening)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def serve(*, ready: Callable[[str], None], **options: Unpack[SimulatorOptions]) -> SimulatorStatistics:
    """Run a simulator until SIGTERM or SIGINT, and return what it counted. For the main thread only.

    Args:
        ready: Called with the URL of the feed, once clients can connect.
        options: As for `Simulator`.

    Raises:
        ConfigError: An option makes no sense, or the port cannot be listened on.
    """
    simulator = Simulator(**options)
    asyncio.run(simulator.serve_until_signal(ready))
    return simulator.statistics
