"""The benchmark of virtual time runs, and a day gives the same output each time."""

import subprocess
import sys


def test_a_small_day_is_the_same_twice() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.time_travel", "--frames", "4000"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    first, second = (line.rpartition(" ")[2] for line in ended.stdout.splitlines()[1:])
    assert first == second
    assert len(first) == 64
