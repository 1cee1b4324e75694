"""Which REST API belongs to which feed."""

from __future__ import annotations

from urllib.parse import urlsplit

_HOSTS = {
    "ws-feed.exchange.coinbase.com": "api.exchange.coinbase.com",
    "ws-direct.exchange.coinbase.com": "api.exchange.coinbase.com",
    "advanced-trade-ws.coinbase.com": "api.exchange.coinbase.com",
    "ws-feed-public.sandbox.exchange.coinbase.com": "api-public.sandbox.exchange.coinbase.com",
}
"""After https://docs.cdp.coinbase.com/exchange/introduction/rest-quickstart and its page of the sandbox.

Advanced Trade gives trades the ids that the Exchange gives them (seen), and only the Exchange's API finds trades by id.
"""


def rest_url(feed_url: str) -> str:
    """The address of the REST API that belongs to a feed: Coinbase's own, or the same host over HTTP.

    `wss://ws-feed.exchange.coinbase.com` gives `https://api.exchange.coinbase.com`, and `ws://127.0.0.1:8765`, such as
    a simulator's, gives `http://127.0.0.1:8765`.
    """
    parts = urlsplit(feed_url)
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{_HOSTS.get(parts.hostname or '', parts.netloc)}"
