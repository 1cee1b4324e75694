"""Many runs, several at a time, each in a process of its own; then the table."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from tests.chaos.kinds import KINDS, FeedName
from tests.chaos.processes import ROOT, environment
from tests.chaos.run import Result, describe

LONGEST_RUN_SECONDS = 600.0


def run_all(
    seeds: Sequence[int],
    folder: Path,
    *,
    seconds: float,
    faults: str,
    feed: FeedName | None = None,
    jobs: int,
    keep: bool,
    done: Callable[[Result], None],
) -> list[Result]:
    """Do the runs of these seeds.

    Args:
        seeds: One a run.
        folder: Each has a folder in it, by the name of its seed; removed where all was well, unless `keep`.
        seconds: How long faults happen in each.
        faults: The kinds to choose from, separated by commas; empty for all.
        feed: Which of Coinbase's feeds; None for the one that each draws.
        jobs: How many at a time.
        keep: Whether to keep all folders.
        done: Is given each result when it is there.

    Returns:
        The results, by seed.
    """
    workers = _Workers([] if feed is None else ["--feed", feed])
    results: list[Result] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = [
                pool.submit(workers.run, seed, folder / str(seed), seconds=seconds, faults=faults, keep=keep)
                for seed in seeds
            ]
            for future in as_completed(futures):
                results.append(future.result())
                done(results[-1])
        finally:
            # Of use only when it is interrupted: otherwise all have ended.
            pool.shutdown(wait=False, cancel_futures=True)
            workers.end()
    return sorted(results, key=lambda result: result.seed)


class _Workers:
    """The processes that do the runs; ended with everything that they have started."""

    def __init__(self, more: Sequence[str]) -> None:
        self._more = more
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def run(self, seed: int, folder: Path, *, seconds: float, faults: str, keep: bool) -> Result:
        """Do one run."""
        given = ["--worker", str(folder), "--seed", str(seed), "--seconds", str(seconds), "--faults", faults]
        with self._lock:
            if self._ended:
                return Result(seed, problems=["interrupted"])
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos", *given, *self._more, *(["--keep"] if keep else [])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=environment({}),
                # Ctrl-C is for the parent, which tells them to end.
                process_group=0,
            )
            self._running.add(worker)
        try:
            output, complaints = worker.communicate(timeout=LONGEST_RUN_SECONDS)
        except subprocess.TimeoutExpired:
            worker.terminate()
            output, complaints = worker.communicate()
            return Result(seed, problems=[f"still at it after {LONGEST_RUN_SECONDS:g} s"], folder=str(folder))
        finally:
            with self._lock:
                self._running.discard(worker)
        try:
            return msgspec.json.decode(output, type=Result)
        except msgspec.DecodeError:
            told = complaints.strip().splitlines()[-1:] or [f"code {worker.returncode}"]
            return Result(seed, problems=[f"the run itself failed: {told[0]}"], folder=str(folder))

    def end(self) -> None:
        """Tell all to end; none is started any more."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for worker in running:
            worker.terminate()


def progress(result: Result, number: int, of: int) -> str:
    """The line of a run."""
    state = "ok    " if result.ok else "FAILED"
    happened = " ".join(f"{kind}={count}" for kind, count in sorted(result.fired.items()) if count)
    return (
        f"{number:4d}/{of} seed {result.seed:<8d} {state} {result.seconds:5.1f} s {result.trades:5d} trades  {happened}"
    )


def summary(results: Sequence[Result], command: Callable[[int], str]) -> str:
    """The table of faults, the failures with the command that repeats each, and the line that counts."""
    fired: Counter[str] = Counter()
    for result in results:
        fired.update(result.fired)
    impossible = {kind for result in results for kind in result.impossible}
    width = max(map(len, KINDS))
    lines = [f"{'fault':{width}}  side  times"]
    for name, kind in KINDS.items():
        note = "  (not possible on this machine)" if name in impossible else ""
        lines.append(f"{name:{width}}  {kind.side}  {fired[name]:5d}{note}")
    for result in results:
        if not result.ok:
            lines += ["", f"seed {result.seed} failed: {command(result.seed)}", f"    kept: {result.folder}"]
            lines += [f"    {line}" for line in describe(result)]
    return "\n".join([*lines, "", verdict(results)])


def verdict(results: Sequence[Result]) -> str:
    """The line that counts: all zeros, or something is wrong. `failed` are runs with any fault of ours at all."""
    sums = {name: sum(len(getattr(result, name)) for result in results) for name in ("lost", "duplicated", "silent")}
    failed = sum(not result.ok for result in results)
    return f"runs={len(results)} " + " ".join(f"{name}={count}" for name, count in sums.items()) + f" failed={failed}"
