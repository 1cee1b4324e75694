"""Scenes of the operators that watch a number."""

from __future__ import annotations

from reactivex import Observable

from docs.diagrams.scene import scene
from operators import changes_by, crosses_above, crosses_below
from operators.testing import Trade, VirtualTime, trades


def price(trade: Trade) -> str:
    return trade.price


def product(trade: Trade) -> str:
    return trade.product_id


@scene("crosses_above", colour=price)
def crosses_above_scene(clock: VirtualTime) -> Observable[Trade]:
    source = clock.cold(trades("99---100---101---103---99.8---102---98---101---|"))
    return source.pipe(crosses_above(100, price, product, rearm=1))


@scene("crosses_below", colour=price)
def crosses_below_scene(clock: VirtualTime) -> Observable[Trade]:
    source = clock.cold(trades("101---100---99---97---100.2---98---102---99---|"))
    return source.pipe(crosses_below(100, price, product, rearm=1))


@scene("changes_by", colour=price)
def changes_by_scene(clock: VirtualTime) -> Observable[Trade]:
    source = clock.cold(trades("10---11---12---11---13---14---15---13---12---|"))
    return source.pipe(changes_by(price, product, amount=2))
