"""Coinbase market data, as RxPY observables, delivered to PulseStream."""

__version__ = "0.1.0"
