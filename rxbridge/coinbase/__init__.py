"""Coinbase's feeds, that of the Exchange and that of Advanced Trade, as Observables."""

from rxbridge.coinbase.stream import frames

__all__ = ["frames"]
