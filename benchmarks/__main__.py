"""`python -m benchmarks`: runs everything, prints the table, writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.suite import QUICK, WHOLE, Findings, measure
from benchmarks.table import render

_LIBRARIES = ("rxbridge", "reactivex", "msgspec", "websocket-client", "requests", "urllib3")


def main() -> int:
    """Run everything.

    Returns:
        0; or 1 if rxbridge lost or repeated events.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few frames only, to see that it works")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results.json", help="the JSON file")
    options = parser.parse_args()
    # So that the children are ended when this process is told to end.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    began, load_average = time.monotonic(), os.getloadavg()[0]
    findings = measure(QUICK if options.quick else WHOLE, lambda text: print(f"... {text}", file=sys.stderr))
    about: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "load_average_before": load_average,
        "seconds": round(time.monotonic() - began, 1),
        "quick": options.quick,
    }
    options.output.write_text(json.dumps(about | findings.as_json(), indent=1) + "\n", encoding="utf-8")
    *machine_kind, libraries = about["machine"].values()
    print(f"{about['date']}: {', '.join(machine_kind)}\n{libraries}\n")
    print(render(findings))
    return 0 if kept_its_promise(findings) else 1


def kept_its_promise(findings: Findings) -> bool:
    """Whether rxbridge delivered each event once in all runs."""
    return all(result.lossless and not result.repeated for result in findings.results if result.contender == "d")


def machine() -> dict[str, str]:
    """What kind of machine this is."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": f"{len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"Linux {platform.release().partition('-')[0]}",
        "python": f"Python {platform.python_version()}",
        "libraries": " ".join(f"{name} {version(name)}" for name in _LIBRARIES),
    }


if __name__ == "__main__":
    sys.exit(main())
