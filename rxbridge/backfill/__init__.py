"""Holes in the trades of a product, found by their ids and filled from Coinbase's REST API."""

from rxbridge.backfill.backfill import Backfill
from rxbridge.backfill.follower import UNREPLAYABLE
from rxbridge.backfill.memory import CONSUMER

__all__ = ["CONSUMER", "UNREPLAYABLE", "Backfill"]
