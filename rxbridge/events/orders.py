"""What the events of the orders of the channel `full` hold."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, UnsetType

from rxbridge.events.reader import Reader
from rxbridge.messages import Order, OrderKind


class OrderMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the first two; a socket has neither. `price` is 0.0 for an order without one."""

    response_time_ms: float
    status_code: int
    price: float


class OrderPayload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something that happened to an order. A number that Coinbase did not send is absent; such a text is null.

    Attributes:
        kind: What happened: `received`, `open`, `done`, `change` or `activate`.
        sequence: Of a product it runs +1, over its orders and trades.
        side: `buy` or `sell`.
        time: As on the wire, where it is called `timestamp` for `activate`.
        reason: Why it is done, `filled` or `canceled`; or why it was changed, such as `STP`.
        funds: What a market order may spend, of the quote currency.
        remaining_size: What is in the book, or was not filled.
        raw_order: The frame, byte for byte, unless `invalid_fields` names it.
        invalid_fields: Wire fields that were replaced, because they were missing or of no use; absent if none were.
    """

    product_id: str
    kind: OrderKind
    order_id: str | None
    sequence: int | None
    side: str | None
    time: str | None
    order_type: str | None
    reason: str | None
    price: float | UnsetType = UNSET
    size: float | UnsetType = UNSET
    funds: float | UnsetType = UNSET
    remaining_size: float | UnsetType = UNSET
    old_size: float | UnsetType = UNSET
    new_size: float | UnsetType = UNSET
    old_price: float | UnsetType = UNSET
    new_price: float | UnsetType = UNSET
    stop_type: str | UnsetType = UNSET
    stop_price: float | UnsetType = UNSET
    raw_order: Raw | UnsetType = UNSET
    invalid_fields: tuple[str, ...] | UnsetType = UNSET


def order_payload(order: Order, product: str, read: Reader) -> OrderPayload:
    """The payload of an order, whose product and time have been read."""
    stop_type = read.text("stop_type", order.stop_type)
    time = order.time if order.timestamp is None else str(order.timestamp)
    return OrderPayload(
        product_id=product,
        kind=order.kind,
        order_id=read.text("order_id", order.order_id),
        sequence=read.whole("sequence", order.sequence, minimum=0),
        side=read.text("side", order.side),
        time=read.text("time", time),
        order_type=read.text("order_type", order.order_type),
        reason=read.text("reason", order.reason),
        # Coinbase sends an empty text where a market order has no price.
        price=read.number_if_any("price", order.price or None),
        size=read.number_if_any("size", order.size or None),
        funds=read.number_if_any("funds", order.funds or None),
        remaining_size=read.number_if_any("remaining_size", order.remaining_size),
        old_size=read.number_if_any("old_size", order.old_size),
        new_size=read.number_if_any("new_size", order.new_size),
        old_price=read.number_if_any("old_price", order.old_price),
        new_price=read.number_if_any("new_price", order.new_price),
        stop_type=UNSET if stop_type is None else stop_type,
        stop_price=read.number_if_any("stop_price", order.stop_price),
        raw_order=read.raw("raw_order", order.data),
        invalid_fields=read.invalid_fields(),
    )


def order_text(payload: OrderPayload) -> str:
    """What the event of an order says in words."""
    at = f" at ${payload.price:.2f}" if payload.price else ""
    why = f" ({payload.reason})" if payload.reason else ""
    return f"Order {payload.kind} for {payload.product_id}: {payload.side or 'no known side'}{at}{why}"
