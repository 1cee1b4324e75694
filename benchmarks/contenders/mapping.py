"""The mapping that a hand-written bridge does: a ticker, as `json` reads it, to an event of plain dicts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def number(value: Any) -> float:
    """A number however it came, 0.0 if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def to_event(ticker: dict[str, Any]) -> dict[str, Any]:
    """The event that stands for a ticker."""
    product = ticker["product_id"]
    price, volume = number(ticker.get("price")), number(ticker.get("volume_24h"))
    bid, ask = number(ticker.get("best_bid")), number(ticker.get("best_ask"))
    event_id = f"coinbase-{product}-{ticker['trade_id']}"
    time = datetime.fromisoformat(ticker["time"]).astimezone(UTC).replace(tzinfo=None)
    return {
        "event_id": event_id,
        "event_type": "custom_event",
        "title": f"Coinbase Price Update: {product}",
        "message": f"Real-time price update for {product}: ${price:.2f}. Volume (24h): ${volume:.2f}",
        "severity": "info",
        "timestamp": time.isoformat(),
        "source": {
            "service": "coinbase-exchange",
            "endpoint": "/ticker",
            "method": "WEBSOCKET",
            "version": "v1",
            "environment": "production",
        },
        "context": {
            "request_id": event_id,
            "tags": {"product_id": product, "source": "coinbase", "channel": "ticker"},
        },
        "metrics": {
            "response_time_ms": 0.0,
            "status_code": 200,
            "price": price,
            "volume_24h": volume,
            "spread": ask - bid,
        },
        "payload": {
            "product_id": product,
            "price": price,
            "volume_24h": volume,
            "last_trade_id": ticker["trade_id"],
            "best_bid": bid,
            "best_ask": ask,
            "spread": ask - bid,
            "low_24h": number(ticker.get("low_24h")),
            "high_24h": number(ticker.get("high_24h")),
            "open_24h": number(ticker.get("open_24h")),
            "last_size": number(ticker.get("last_size")),
            "side": ticker.get("side"),
            "sequence": ticker.get("sequence"),
            "raw_ticker": ticker,
        },
        "metadata": {
            "source_system": "coinbase-websocket-bridge",
            "bridge_version": "1.0.0",
            "processed_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        },
    }
