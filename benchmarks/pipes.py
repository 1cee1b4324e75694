"""How the processes of a run talk: lines of JSON on their standard input and output."""

from __future__ import annotations

import json
import sys
from typing import Any


def tell(**values: Any) -> None:
    """Send a line to the process that started this one."""
    print(json.dumps(values), flush=True)


def wait_for_go() -> bool:
    """Wait for the other's next line; False when it has hung up."""
    return bool(sys.stdin.readline())
