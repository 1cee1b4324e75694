"""The numbers of the channel `full`: of one product on one connection they run +1, so a jump says what was lost. Pure.

    full       100 101      104 105        102 and 103 are lost, between 101 and 104
    matches            103                 but for 103, which is a trade: the other channel has brought it

Orders and trades are numbered together (https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#full-channel).
A trade of `matches` cannot be told from one of `full`, and channels overtake each other, so a trade that is ahead is
put aside until an order is: of that it is known by which channel it came.
"""

from __future__ import annotations

import msgspec

_MOST_LOST = 1_000_000
"""A number that is further ahead is not believed: after it, no loss would be noticed any more."""

_MOST_AHEAD = 1_000
"""Trades that are put aside. Between so many there are orders, or these are lost."""


class OrderNumbers(msgspec.Struct):
    """What is known of them.

    Attributes:
        newest: The newest number of an order.
        at: When that was received: nanoseconds since the Unix epoch.
        ahead: The numbers of trades above it.
    """

    newest: int
    at: int
    ahead: list[int] = []

    def see_trade(self, number: int) -> None:
        """A trade came."""
        if number > self.newest and len(self.ahead) < _MOST_AHEAD:
            self.ahead.append(number)

    def follow(self, number: int, at: int) -> int:
        """An order came; how many messages were lost since the one before, as far as is known.

        A repeat, and what was overtaken, says nothing; neither does a number that cannot be.
        """
        if number <= self.newest or number - self.newest > _MOST_LOST:
            return 0
        between = {other for other in self.ahead if other < number}
        lost = number - self.newest - 1 - len(between)
        self.newest, self.at = number, at
        if self.ahead:
            self.ahead = [other for other in self.ahead if other > number]
        return lost
