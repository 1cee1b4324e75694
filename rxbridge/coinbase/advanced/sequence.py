"""The number that Advanced Trade gives to each frame of a connection, from 0: a jump says that frames were lost.

It counts over all channels, acknowledgements and heartbeats (seen, and
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview); errors have none.
"""

from __future__ import annotations

import re

_HEAD_BYTES = 256
"""It stands before the events, which may be megabytes."""

_NUMBER = re.compile(rb'"sequence_num":(\d{1,18})[,}]').search


def sequence_num(data: bytes) -> int | None:
    """The number of a frame; None for one that has none where it belongs, such as a frame of the Exchange feed."""
    if not data.startswith(b'{"channel":'):
        return None
    found = _NUMBER(data[:_HEAD_BYTES])
    return None if found is None else int(found[1])
