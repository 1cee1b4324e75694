"""What playing a recording takes in either protocol: the right times, and who listens to what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

from rxbridge.simulator.protocol import Subscription

FRAMES_AT_A_STRETCH = 64
"""After so many frames without a wait, the event loop gets a turn."""

SHORTEST_SLEEP_SECONDS = 0.001

_T = TypeVar("_T")


class TimedFrame(Protocol):
    """A frame, and when it was received, in nanoseconds since the Unix epoch."""

    @property
    def received_at(self) -> int:
        """When."""
        ...

    @property
    def data(self) -> bytes:
        """The frame."""
        ...


async def when_due(
    recorded: Iterable[TimedFrame], concern: Callable[[bytes], _T | None], *, begins_at: int, speed: float
) -> AsyncGenerator[tuple[_T, bytes], None]:
    """The frames that are of concern, each when its time has come, with what `concern` says of it.

    Args:
        recorded: All frames, from the start of the recording.
        concern: What a frame is to the listener; None if it is nothing.
        begins_at: When the first frame was received, in nanoseconds since the Unix epoch.
        speed: How many times faster than they were received they come; infinity for no wait at all.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    frames = iter(recorded)
    try:
        for number, frame in enumerate(frames):
            if number % FRAMES_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
            if (said := concern(frame.data)) is None:
                continue
            wait = started + (frame.received_at - begins_at) / 1_000_000_000 / speed - loop.time()
            if wait >= SHORTEST_SLEEP_SECONDS:
                await asyncio.sleep(wait)
            yield said, frame.data
    finally:
        if isinstance(frames, Generator):
            frames.close()


class Listeners:
    """Who is being played what. Each subscription is played by one task, which may play several."""

    def __init__(self) -> None:
        self._players: dict[tuple[Hashable, Subscription], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Wait until cancelled, or until a player fails; then end all of them.

        Raises:
            Exception: What the player failed with.
        """
        try:
            await self._failed.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            for task in self._tasks:
                task.cancel()

    def new(self, listener: Hashable, subscriptions: Sequence[Subscription]) -> set[Subscription]:
        """Those of the subscriptions that are not played to it yet."""
        return {subscription for subscription in subscriptions if (listener, subscription) not in self._players}

    def attach(
        self,
        listener: Hashable,
        subscriptions: Sequence[Subscription],
        play: Callable[[set[Subscription]], Coroutine[None, None, None]],
    ) -> None:
        """Play those of the subscriptions that are new."""
        new = self.new(listener, subscriptions)
        if not new:
            return
        task = asyncio.create_task(play(new))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        self._players.update(dict.fromkeys(((listener, subscription) for subscription in new), task))

    def detach(self, listener: Hashable, subscriptions: Sequence[Subscription]) -> None:
        """Play on without these."""
        for subscription in subscriptions:
            del self._players[listener, subscription]

    def hears(self, listener: Hashable, subscription: Subscription, player: object) -> bool:
        """Whether this player still plays this: the subscription may be gone, or be another's by now."""
        return self._players.get((listener, subscription)) is player

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._failed.set()
