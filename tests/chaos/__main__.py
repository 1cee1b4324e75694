"""`python -m tests.chaos`: random schedules of faults against the real processes; at the end the audit must hold."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos.kinds import FEEDS
from tests.chaos.processes import ChaosError
from tests.chaos.run import Result, describe, known_kinds, run
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.schedule import draw
from tests.chaos.suite import progress, run_all, summary, verdict

INTERRUPTED = 130


def main() -> int:
    """Do what the arguments say.

    Returns:
        0; 1 if the promise was not kept; 2 for wrong usage; 130 if it was interrupted.
    """
    options = _options()
    # As Ctrl-C does: what was started is ended on the way out.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        kinds = known_kinds(options.faults)
        if options.show:
            for seed in range(options.seed, options.seed + options.runs):
                print(draw(seed, seconds=options.seconds, kinds=kinds, feed=options.feed))
            return 0
        if options.scenario:
            return _show_scenario(options)
        if options.worker is not None:
            return _work(options, kinds)
        return _do_all(options)
    except ChaosError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of the first; each further one has the next")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long faults happen in a run")
    parser.add_argument("--faults", default="", help="only these kinds, separated by commas")
    parser.add_argument("--feed", choices=FEEDS, help="only this one of Coinbase's feeds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--folder", type=Path, help="where runs are written; a temporary folder by default")
    parser.add_argument("--keep", action="store_true", help="keep what is written, also where all was well")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="do this instead of random runs")
    parser.add_argument("--minutes", type=float, help="how long the scenario takes; it has a time of its own")
    parser.add_argument("--show", action="store_true", help="print the schedules, and do nothing")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _do_all(options: argparse.Namespace) -> int:
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rxbridge-chaos-"))
    seeds = range(options.seed, options.seed + options.runs)
    number = 0

    def done(result: Result) -> None:
        nonlocal number
        number += 1
        print(progress(result, number, options.runs), flush=True)

    results = run_all(
        seeds,
        folder,
        seconds=options.seconds,
        faults=options.faults,
        feed=options.feed,
        jobs=options.jobs,
        keep=options.keep,
        done=done,
    )
    print(summary(results, lambda seed: _command(options, seed)))
    if options.folder is None and all(result.ok for result in results) and not options.keep:
        shutil.rmtree(folder)
    return 0 if all(result.ok for result in results) else 1


def _show_scenario(options: argparse.Namespace) -> int:
    scenario, minutes = SCENARIOS[options.scenario]
    folder = options.folder or Path(tempfile.mkdtemp(prefix=f"rxbridge-{options.scenario}-"))
    results = scenario(folder, options.minutes or minutes)
    for result in results:
        print(progress(result, 1, 1), result.figures)
        for line in describe(result):
            print(f"    {line}")
    print(verdict(results) if all(result.ok for result in results) else f"{verdict(results)}; kept: {folder}")
    if options.folder is None and all(result.ok for result in results) and not options.keep:
        shutil.rmtree(folder)
    return 0 if all(result.ok for result in results) else 1


def _command(options: argparse.Namespace, seed: int) -> str:
    more = "" if options.seconds == 8.0 else f" SECONDS_EACH={options.seconds:g}"
    more += f" FAULTS={options.faults}" if options.faults else ""
    more += f" FEED={options.feed}" if options.feed else ""
    return f"make chaos RUNS=1 SEED={seed}{more}"


def _work(options: argparse.Namespace, kinds: list[str]) -> int:
    result = run(draw(options.seed, seconds=options.seconds, kinds=kinds, feed=options.feed), options.worker)
    if result.ok and not options.keep:
        shutil.rmtree(options.worker)
    sys.stdout.buffer.write(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
