"""What the events of the channels `status` and `auctionfeed` hold."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, UnsetType

from rxbridge.channels import FeedName
from rxbridge.events.reader import Reader
from rxbridge.messages import Auction, ProductStatus


class StatusMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the two; a socket has neither."""

    response_time_ms: float
    status_code: int


class AuctionMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the first two; a socket has neither. `price` and `size` are those to open at, 0.0 if none."""

    response_time_ms: float
    status_code: int
    price: float
    size: float


class StatusPayload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a product is listed. What Coinbase did not send is absent, or null where it is text.

    Attributes:
        status: Such as `online`, `offline` or `delisted`.
        min_market_funds: The least that a market order may spend, of the quote currency.
        product_type: Such as `SPOT`, on Advanced Trade; absent otherwise.
        raw_status: What Coinbase says of this product, byte for byte, unless `invalid_fields` names it.
        feed: `advanced` if it came by Advanced Trade; absent otherwise.
        invalid_fields: Wire fields that were replaced, because they were missing or of no use; absent if none were.
    """

    product_id: str
    status: str | None
    status_message: str | None
    display_name: str | None
    base_currency: str | None
    quote_currency: str | None
    base_increment: float | UnsetType = UNSET
    quote_increment: float | UnsetType = UNSET
    min_market_funds: float | UnsetType = UNSET
    post_only: bool | UnsetType = UNSET
    limit_only: bool | UnsetType = UNSET
    cancel_only: bool | UnsetType = UNSET
    fx_stablecoin: bool | UnsetType = UNSET
    product_type: str | UnsetType = UNSET
    raw_status: Raw | UnsetType = UNSET
    feed: FeedName | UnsetType = UNSET
    invalid_fields: tuple[str, ...] | UnsetType = UNSET


class AuctionPayload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What an auction would come to. What Coinbase did not send is absent, or null where it is text.

    Attributes:
        auction_state: Such as `collection`.
        open_price: At which the market would open; likewise the size.
        can_open: Whether it can open at all.
        raw_auction: The frame, byte for byte, unless `invalid_fields` names it.
        invalid_fields: Wire fields that were replaced, because they were missing or of no use; absent if none were.
    """

    product_id: str
    sequence: int | None
    auction_state: str | None
    best_bid_price: float | UnsetType = UNSET
    best_bid_size: float | UnsetType = UNSET
    best_ask_price: float | UnsetType = UNSET
    best_ask_size: float | UnsetType = UNSET
    open_price: float | UnsetType = UNSET
    open_size: float | UnsetType = UNSET
    can_open: bool | UnsetType = UNSET
    raw_auction: Raw | UnsetType = UNSET
    invalid_fields: tuple[str, ...] | UnsetType = UNSET


def status_payload(status: ProductStatus, product: str, read: Reader) -> StatusPayload:
    """The payload of a product's status, whose product and time have been read."""
    product_type = read.text("product_type", status.product_type)
    return StatusPayload(
        product_id=product,
        status=read.text("status", status.status),
        status_message=read.text("status_message", status.status_message),
        display_name=read.text("display_name", status.display_name),
        base_currency=read.text("base_currency", status.base_currency),
        quote_currency=read.text("quote_currency", status.quote_currency),
        base_increment=read.number_if_any("base_increment", status.base_increment),
        quote_increment=read.number_if_any("quote_increment", status.quote_increment),
        min_market_funds=read.number_if_any("min_market_funds", status.min_market_funds),
        post_only=read.flag_if_any("post_only", status.post_only),
        limit_only=read.flag_if_any("limit_only", status.limit_only),
        cancel_only=read.flag_if_any("cancel_only", status.cancel_only),
        fx_stablecoin=read.flag_if_any("fx_stablecoin", status.fx_stablecoin),
        product_type=UNSET if product_type is None else product_type,
        raw_status=read.raw("raw_status", status.data),
        feed="advanced" if status.part.feed == "advanced" else UNSET,
        invalid_fields=read.invalid_fields(),
    )


def auction_payload(auction: Auction, product: str, read: Reader) -> AuctionPayload:
    """The payload of an auction, whose product and time have been read."""
    return AuctionPayload(
        product_id=product,
        sequence=read.whole("sequence", auction.sequence, minimum=0),
        auction_state=read.text("auction_state", auction.auction_state),
        best_bid_price=read.number_if_any("best_bid_price", auction.best_bid_price),
        best_bid_size=read.number_if_any("best_bid_size", auction.best_bid_size),
        best_ask_price=read.number_if_any("best_ask_price", auction.best_ask_price),
        best_ask_size=read.number_if_any("best_ask_size", auction.best_ask_size),
        open_price=read.number_if_any("open_price", auction.open_price),
        open_size=read.number_if_any("open_size", auction.open_size),
        can_open=read.flag_if_any("can_open", auction.can_open),
        raw_auction=read.raw("raw_auction", auction.data),
        invalid_fields=read.invalid_fields(),
    )


def status_text(payload: StatusPayload) -> str:
    """What the event of a status says in words."""
    said = f": {payload.status_message}" if payload.status_message else ""
    return f"{payload.product_id} is {payload.status or 'of no known status'}{said}"


def auction_text(payload: AuctionPayload) -> str:
    """What the event of an auction says in words."""
    state = payload.auction_state or "in no known state"
    price = f"at ${payload.open_price:.2f}" if payload.open_price else "at no price"
    return f"Auction of {payload.product_id} ({state}) would open {price}"
