"""Coinbase's Exchange feed as Observables."""

from rxbridge.coinbase.stream import frames

__all__ = ["frames"]
