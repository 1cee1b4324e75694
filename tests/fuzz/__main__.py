"""`python -m tests.fuzz --runs 1000000`: searches all targets, one after the other, and says what was done and found.

The environment needs atheris; `make fuzz` makes one. What is found is kept in `tests/fuzz/findings`, where `make test`
tries it again.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS

FINDINGS = Path(__file__).parent / "findings"
LONGEST_INPUT = 4096
SLOWEST_INPUT_SECONDS = 10
MOST_MEMORY_MIB = 1024


@dataclass(frozen=True)
class Outcome:
    """What the search of one target brought."""

    target: str
    inputs: int
    seconds: float
    finding: bytes | None
    said: str


def main() -> int:
    """Search; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description="Coverage-guided search for inputs that do harm.")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs, over all targets together")
    parser.add_argument("--seed", type=int, default=1, help="another seed tries other inputs")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one; repeatable")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    shares = sum(TARGETS[name].weight for name in names)
    print(f"{'target':<16}{'inputs':>12}{'seconds':>9}{'a second':>10}  found", flush=True)
    outcomes: list[Outcome] = []
    for name in names:
        outcome = search(name, max(options.runs * TARGETS[name].weight // shares, 1), options.seed)
        outcomes.append(outcome)
        rate = outcome.inputs / max(outcome.seconds, 0.001)
        found = keep(outcome) if outcome.finding is not None else "nothing"
        print(f"{name:<16}{outcome.inputs:>12,}{outcome.seconds:>9.0f}{rate:>10,.0f}  {found}", flush=True)
    total, seconds = sum(outcome.inputs for outcome in outcomes), sum(outcome.seconds for outcome in outcomes)
    findings = [outcome for outcome in outcomes if outcome.finding is not None]
    print(f"{'all':<16}{total:>12,}{seconds:>9.0f}{total / max(seconds, 0.001):>10,.0f}  {len(findings)} findings")
    for outcome in findings:
        print(f"\n{outcome.target}:\n{outcome.said}")
    return 1 if findings else 0


def search(name: str, runs: int, seed: int) -> Outcome:
    """Search one target in a process of its own, which a crash or a hang may end."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, artifacts = Path(folder, "corpus"), Path(folder, "artifacts")
        corpus.mkdir()
        artifacts.mkdir()
        for number, data in enumerate([*TARGETS[name].seeds, *kept(name)]):
            Path(corpus, str(number)).write_bytes(data)
        began = time.monotonic()
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.search", name, str(corpus), f"-runs={runs}", f"-seed={seed}"),
                *(f"-max_len={LONGEST_INPUT}", f"-timeout={SLOWEST_INPUT_SECONDS}", f"-rss_limit_mb={MOST_MEMORY_MIB}"),
                *(f"-artifact_prefix={artifacts}/", "-print_final_stats=1"),
            ],
            capture_output=True,
            check=False,
        )
        seconds = time.monotonic() - began
        said = ended.stderr.decode("utf-8", "replace") + ended.stdout.decode("utf-8", "replace")
        counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
        found = next((path.read_bytes() for path in artifacts.iterdir()), None)
        if ended.returncode != 0 and found is None:
            raise SystemExit(f"the search of {name} did not work:\n{said[-3000:]}")
        return Outcome(name, int(counted[1]) if counted else 0, seconds, found, said[-3000:])


def kept(name: str) -> list[bytes]:
    """What was found before, to begin with as well."""
    return [read(path) for path in sorted(FINDINGS.glob("*.json")) if json.loads(path.read_text())["target"] == name]


def keep(outcome: Outcome) -> str:
    """Write a finding down; whoever mends what it shows writes what it was about."""
    assert outcome.finding is not None
    number = 1 + len(list(FINDINGS.glob(f"{outcome.target}-*.json")))
    path = FINDINGS / f"{outcome.target}-{number}.json"
    content = {"target": outcome.target, "about": "", "base64": base64.b64encode(outcome.finding).decode()}
    path.write_text(json.dumps(content, indent=2) + "\n")
    return f"{path.name}"


def read(path: Path) -> bytes:
    """The input of a finding: `text` where it is text, else `base64`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["text"].encode() if "text" in content else base64.b64decode(content["base64"])


if __name__ == "__main__":
    sys.exit(main())
