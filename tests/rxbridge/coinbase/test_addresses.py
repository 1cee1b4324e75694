import pytest

from rxbridge.coinbase.addresses import rest_url


@pytest.mark.parametrize(
    ("feed", "rest"),
    [
        ("wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"),
        ("wss://ws-direct.exchange.coinbase.com/", "https://api.exchange.coinbase.com"),
        ("wss://advanced-trade-ws.coinbase.com", "https://api.exchange.coinbase.com"),
        ("wss://ws-feed-public.sandbox.exchange.coinbase.com", "https://api-public.sandbox.exchange.coinbase.com"),
        ("ws://127.0.0.1:8765", "http://127.0.0.1:8765"),
        ("wss://proxy.example:8443/coinbase", "https://proxy.example:8443"),
    ],
)
def test_the_rest_api_that_belongs_to_a_feed(feed: str, rest: str) -> None:
    assert rest_url(feed) == rest
