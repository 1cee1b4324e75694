"""Coinbase's feeds, that of the Exchange and that of Advanced Trade, as Observables."""

from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.coinbase.stream import frames

__all__ = ["ProductsInForce", "frames"]
