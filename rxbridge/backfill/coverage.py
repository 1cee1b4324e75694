"""Which quotes came by some connection, and when none brought them. Pure: a function of the frames, in their order.

    line 1     ===========       ==========      = this connection brings the product
    line 2     ==================       ====
    silence                                      each of the two breaks was bridged by the other line

    line 1     =======       ===============
    line 2     =========         ===========
    silence             ~~~~                     from when the last of them broke to when the first was back

What a connection brings counts from its acknowledgement, or from its first message, to the last frame that it brought
before another connection took the place. That it has broken is known only then. So of each product there is a moment
up to which all is decided, and what came later by connections that have ended is kept until that moment reaches it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rxbridge.backfill.coverage_state import Break, CoverageState, Covered, Line
from rxbridge.backfill.silences import UNREADABLE, Silence
from rxbridge.messages import line_of

LOST_NANOSECONDS = 60 * 10**9
"""A line that brings nothing for so long, while another one does, does not bridge a break of that one: its connection
is dead, or it is no more. A line that is well brings a heartbeat a second."""

_LOOK_NANOSECONDS = 10**9
_TOGETHER_NANOSECONDS = 10**9


class Coverage:
    """Follows what the lines bring.

    Args:
        state: Where to go on; it is taken over, and changed.
        channels: Channels whose data are lost while nothing brings them.
        products: The products of those channels.
    """

    def __init__(self, state: CoverageState, channels: Sequence[str], products: Collection[str]) -> None:
        self._state = state
        self._lines = state.lines
        self._channels = tuple(channels)
        self._products = frozenset(products)
        self._coming: frozenset[str] = frozenset()
        self._wanted_since: dict[str, int] = {}  # of products that were not wanted for a while, or ever
        self._silences: list[Silence] = []
        self._decided: list[Silence] = []
        self._looked_at = 0
        self._begin_channels()

    @property
    def state(self) -> CoverageState:
        """What is to be remembered; it goes on changing."""
        return self._state

    def take_silences(self) -> list[Silence]:
        """What there was of silence, as far as it was not taken yet."""
        silences, self._silences = self._silences, []
        return silences

    def keep_products(self, products: Collection[str], now: int) -> None:
        """From now on these are all; a silence of any other ends here, at `now`, in nanoseconds since the epoch."""
        gone = self._products - frozenset(products)
        self._wanted_since |= dict.fromkeys(self._products ^ frozenset(products), now)
        self._products, self._coming = frozenset(products), frozenset()
        for channel in self._channels:
            self._end(channel, gone, now)
            self._take_ended(channel)
            for product in gone:
                self._state.covered[channel].pop(product, None)
                for line in self._lines.values():
                    line.brings.get(channel, {}).pop(product, None)
                    line.orders.pop(product, None)

    def expect_products(self, products: Collection[str]) -> None:
        """These are about to be wanted: what is heard of them counts, and no silence of them yet."""
        self._coming = frozenset(products)

    def start_anew(self, channels: Sequence[str], products: Collection[str], now: int) -> None:
        """Another run asks for these, of which something is received now: whatever was connected has ended before.

        What neither run leaves out is silent from that end on. A silence of what is wanted no longer ends here, and
        what was not wanted before has none.

        Args:
            channels: Channels whose data are lost while nothing brings them.
            products: The products of those channels.
            now: When its first frame was received: nanoseconds since the Unix epoch.
        """
        for line in self._lines.values():
            self._break(line, line.last_at)
        self._lines.clear()
        self.keep_products(products, now)
        for channel in set(self._channels) - set(channels):
            self._end(channel, list(self._state.silent[channel]), now)
            self._take_ended(channel)
        self._channels = tuple(channels)
        self._begin_channels()

    def _begin_channels(self) -> None:
        """Know nothing of any other channel or product: when it comes back, it was not wanted meanwhile."""
        silent, covered = self._state.silent, self._state.covered
        self._state.silent = {
            channel: {product: one for product, one in silent.get(channel, {}).items() if product in self._products}
            for channel in self._channels
        }
        self._state.covered = {channel: covered.get(channel, {}) for channel in self._channels}

    def follow(self, connection: int, received_at: int) -> Line:
        """The next frame of a connection was received; its line as it was before, unless the connection is new."""
        number = line_of(connection)
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = Line(connection, received_at)
        elif line.connection != connection:
            self._break(line, line.last_at)
            line.connection, line.last_at, line.sequence, line.index, line.orders = connection, received_at, -1, -1, {}
        if len(self._lines) > 1 and abs(received_at - self._looked_at) > _LOOK_NANOSECONDS:
            self._looked_at = received_at
            self._give_up_lines(received_at)
        return line

    def lose(self, line: Line, now: int, frames: int) -> None:
        """So many frames of a connection were lost, between its newest one and one that was received at `now`."""
        brought = line.brings
        silent_before = {channel: set(self._state.silent[channel]) for channel in self._channels}
        self._break(line, line.last_at, frames)
        last = max(line.last_at, now)
        for channel in self._channels:
            self._bring(line, channel, brought.get(channel, ()), last)
            # Nobody knows what would have come of a product that nothing brings: it was a silence for that long.
            self._end(channel, set(self._state.silent[channel]) - silent_before[channel], last)
            self._take_ended(channel)

    def spoil(
        self, connection: int, channel: str, product: str, until: int, lost_frames: int = UNREADABLE
    ) -> list[str]:
        """What a connection brings is of no use any more, until it is heard of again.

        Args:
            connection: Of a frame that was followed.
            channel: The channel.
            product: Of this product; of all, if it is empty.
            until: When the last frame was received that was of use: nanoseconds since the Unix epoch.
            lost_frames: How many were lost behind it, see `Silence`.

        Returns:
            The products that it had brought.
        """
        line = self._lines.get(line_of(connection))
        if line is None or line.connection != connection or channel not in self._channels:
            return []
        brings = line.brings.get(channel, {})
        spoilt = [one for one in ([product] if product else sorted(brings)) if one in brings]
        for one in spoilt:
            self._broken(channel, one, brings.pop(one), until, lost_frames)
        self._tell_decided()
        return spoilt

    def brings(self, connection: int, channel: str, product: str) -> bool:
        """Whether it is known that this connection brings this."""
        line = self._lines.get(line_of(connection))
        return line is not None and line.connection == connection and product in line.brings.get(channel, ())

    def hear(self, connection: int, channel: str, products: Iterable[str], now: int, *, settled: bool = False) -> None:
        """This connection brings these, since `now` at the latest; nothing, if it is not the newest of its line.

        Args:
            connection: Of a frame that was followed.
            channel: The channel.
            products: Products of it.
            now: Nanoseconds since the Unix epoch.
            settled: Whether Coinbase has acknowledged them, so that their silences have ended together.
        """
        line = self._lines.get(line_of(connection))
        if line is None or line.connection != connection or channel not in self._channels:
            return
        self._bring(line, channel, products, now)
        if settled or all(broken.last for broken in self._state.silent[channel].values()):
            self._take_ended(channel)

    def _bring(self, line: Line, channel: str, products: Iterable[str], now: int) -> None:
        brings = line.brings.setdefault(channel, {})
        covered = self._state.covered[channel]
        new = [product for product in products if product not in brings and self._heeds(product)]
        self._end(channel, new, now)
        for product in new:
            brings[product] = now
            if product not in covered:
                covered[product] = Covered(now)

    def _heeds(self, product: str) -> bool:
        return product in self._products or product in self._coming

    def _break(self, line: Line, at: int, lost_frames: int = 0) -> None:
        """The line brings nothing any more since `at`; and of what nothing brings nobody knows since when."""
        brought, line.brings = line.brings, {}
        for channel in self._channels:
            self._take_ended(channel)
            covered, silent = self._state.covered[channel], self._state.silent[channel]
            for product, since in brought.get(channel, {}).items():
                self._broken(channel, product, since, at, lost_frames)
            others = [line.brings.get(channel, ()) for line in self._lines.values()]
            for product in self._products.difference(silent, brought.get(channel, ()), *others):
                known = covered[product].decided_to if product in covered else 0
                covered[product] = Covered(max(at, known, self._wanted_since.get(product, 0)))
                silent[product] = Break(covered[product].decided_to, lost_frames)
            self._take_ended(channel)
        self._tell_decided()

    def _broken(self, channel: str, product: str, since: int, until: int, lost_frames: int = 0) -> None:
        """A line has brought a product in this time, and does no more."""
        known = self._state.covered[channel][product]
        if since <= known.decided_to:
            known.decided_to = max(known.decided_to, until)
        else:
            known.brought.append((since, until))
        self._decide(channel, product, lost_frames)

    def _decide(self, channel: str, product: str, lost_frames: int) -> None:
        """Find out what came of a product since all was decided: a silence is told where there was one."""
        known = self._state.covered[channel][product]
        lines = [line for line in self._lines.values() if product in line.brings.get(channel, ())]
        while True:
            now = known.decided_to
            known.brought = [(since, until) for since, until in known.brought if until > now]
            bridging = [line.last_at for line in lines if line.brings[channel][product] <= now]
            bridging += [until for since, until in known.brought if since <= now]
            if bridging and (furthest := max(bridging)) > now:
                known.decided_to = furthest
                continue
            if any(line.brings[channel][product] <= now for line in lines):
                return  # it was brought so far, and what comes next is known when the line brings more, or breaks
            begun = [line.brings[channel][product] for line in lines] + [since for since, _ in known.brought]
            if not begun:
                self._state.silent[channel][product] = Break(now, lost_frames)
                return
            known.decided_to = min(begun)
            self._decided.append(Silence(channel, (product,), now, known.decided_to, lost_frames))

    def _give_up_lines(self, now: int) -> None:
        """Have lines that are lost bring nothing any more of what others bring."""
        for number, line in list(self._lines.items()):
            if now - line.last_at <= LOST_NANOSECONDS:
                continue
            others = [other.brings for other in self._lines.values() if other is not line]
            for channel in self._channels:
                brings = line.brings.get(channel, {})
                shared = {product for other in others for product in other.get(channel, ()) if product in brings}
                for product in sorted(shared):
                    self._broken(channel, product, brings.pop(product), line.last_at)
            if not any(line.brings.values()):
                del self._lines[number]
        self._tell_decided()

    def _tell_decided(self) -> None:
        """One silence for all the products that a break has shown it for, which may have ended microseconds apart."""
        decided = sorted(self._decided, key=lambda one: (one.channel, one.first, one.last))
        self._decided = []
        together: list[Silence] = []
        for silence in decided:
            if together and _are_one(together[-1], silence):
                products = tuple(sorted((*together[-1].products, *silence.products)))
                together[-1] = silence._replace(products=products)
            else:
                together.append(silence)
        self._silences += together

    def _end(self, channel: str, products: Iterable[str], now: int) -> None:
        silent, covered = self._state.silent[channel], self._state.covered[channel]
        for product in silent.keys() & set(products):
            broken = silent[product]
            if not broken.last:
                # A clock that was set back meanwhile does not make a silence end before it has begun.
                last = max(broken.first, now)
                silent[product] = broken._replace(last=last)
                covered[product] = Covered(last)

    def _take_ended(self, channel: str) -> None:
        """One silence for all the products that it has ended for, which may do so microseconds apart."""
        silent = self._state.silent[channel]
        together: dict[tuple[int, int], list[str]] = {}
        for product in sorted(silent):
            broken = silent[product]
            if broken.last:
                together.setdefault((broken.first, broken.lost_frames), []).append(product)
        for (first, lost_frames), ended in sorted(together.items()):
            last = max([silent.pop(product).last for product in ended])
            self._silences.append(Silence(channel, tuple(ended), first, last, lost_frames))


def _are_one(one: Silence, other: Silence) -> bool:
    """Whether two silences, the second of which ends later, are so alike that it would be odd to tell them apart."""
    alike = (one.channel, one.first, one.lost_frames) == (other.channel, other.first, other.lost_frames)
    return alike and other.last - one.last < _TOGETHER_NANOSECONDS and not {*one.products} & {*other.products}
