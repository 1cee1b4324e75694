"""The channel `full` of one product, as it is on the wire: every order and every trade, number after number.

The forms are those of https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#full-channel.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rxbridge.simulator import wire
from rxbridge.simulator.order_flow import Step
from rxbridge.simulator.products import SIZE_DECIMALS, Product

_encode = msgspec.json.Encoder().encode


def order_frame(product: Product, step: Step) -> bytes:
    """The frame that tells of a step."""
    if step.trade is not None:
        return wire.match(product, step.trade)
    size = wire.trimmed(step.size, SIZE_DECIMALS)
    fields: dict[str, Any]
    match step.kind:
        case "received":
            fields = {"size": size, "order_type": "limit"}
        case "change":
            fields = {"new_size": size, "old_size": wire.trimmed(step.old_size, SIZE_DECIMALS), "reason": step.reason}
        case "done":
            fields = {"remaining_size": size, "reason": step.reason}
        case _:
            fields = {"remaining_size": size}
    head = {
        "type": step.kind,
        "time": wire.timestamp(step.time_ns),
        "product_id": product.product_id,
        "sequence": step.sequence,
        "order_id": step.order_id,
        "side": step.side,
        "price": wire.trimmed(step.price, product.price_decimals),
    }
    return _encode({**head, **fields})
