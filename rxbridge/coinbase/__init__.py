"""Coinbase's feeds, that of the Exchange and that of Advanced Trade, as Observables."""

from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.coinbase.live_books import books
from rxbridge.coinbase.stream import frames
from rxbridge.coinbase.views import FeedOptions, messages, tickers, trades

__all__ = ["FeedOptions", "ProductsInForce", "books", "frames", "messages", "tickers", "trades"]
