"""When each frame is due."""

from __future__ import annotations

_GOLDEN_RATIO = 0.6180339887498949


def due(index: int, rate: float) -> float:
    """When the `index`-th frame is to leave: seconds after the first, at `rate` frames a second.

    One frame falls into each interval, at a place that wanders evenly over it. With even distances some multiple of
    them would be the batch window, and whichever of two events at the same instant won would decide the latencies.
    """
    return (index + index * _GOLDEN_RATIO % 1) / rate
