"""The audit at the end of a run: nothing lost, nothing twice, nothing silent, and no word too many."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.books import Books, images, read_books, stored
from tests.chaos.kinds import FILE_FAULTS, KINDS, PRODUCTS
from tests.chaos.processes import environment
from tests.chaos.quotes import has_exact_books, vanished
from tests.chaos.stage import Stage

COMMAND_SECONDS = 3_600
"""An audit of a million events takes minutes."""

_AUDIT_FAILED = 1


@dataclass(slots=True)
class Findings:
    """What an audit found wrong, each in words.

    Attributes:
        lost: Trades that were neither stored nor reported as a gap, and events that were acknowledged and not stored.
        duplicated: Event ids that PulseStream has more than once.
        silent: What was lost and nobody told of.
        problems: All else: exit codes, tracebacks, a key that was told, books that do not balance.
        figures: What `rxbridge verify` said.
    """

    lost: list[str] = field(default_factory=list[str])
    duplicated: list[str] = field(default_factory=list[str])
    silent: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])
    figures: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def ok(self) -> bool:
        """Whether there is nothing wrong."""
        return not (self.lost or self.duplicated or self.silent or self.problems)


def audit(stage: Stage) -> Findings:
    """Audit a stage whose bridge has ended, and whose PulseStream still answers."""
    stage.count_feed_faults()
    findings = Findings(problems=list(stage.problems))
    rows, books = stored(stage.database), read_books(stage.journal)
    findings.duplicated.extend(f"{key}: {count} rows" for key, count in rows.items() if count > 1)
    _check_trades(stage, rows, books, findings)
    findings.silent.extend(vanished(stage, rows, books))
    _check_images(stage, findings)
    _check_verify(stage, books, findings)
    _check_gaps(stage, books, findings)
    _check_output(stage, findings)
    return findings


def missing_trades(stage: Stage, rows: Counter[str], books: Books) -> dict[str, list[int]]:
    """The trades of each product that PulseStream should have and has not: from the first that the bridge ever saw."""
    missing: dict[str, list[int]] = {}
    for product in PRODUCTS:
        market = stage.simulator.trades(product)
        prefix = f"coinbase-{product}-match-"
        # Only where our clock is ahead as well does nothing betray one of Coinbase's that is.
        refused = books.too_early if stage.schedule.kinds >= {"clock", "step"} else frozenset[str]()
        names = (key.removeprefix(prefix) for key in (*rows, *refused) if key.startswith(prefix))
        known = {int(name) for name in names if name.isdigit()}
        # A damaged journal may have forgotten its first frames, which PulseStream has. What the market never traded
        # comes from a frame that was damaged.
        seen = [trade for trade in (*known, *books.trades_seen(product)) if trade in market]
        if seen:
            missing[product] = [trade for trade in range(min(seen), market.stop) if trade not in known]
    return missing


def _check_trades(stage: Stage, rows: Counter[str], books: Books, findings: Findings) -> None:
    told = [gap for gap in books.market_gaps if gap.kind == "trades"]
    for product, missing in missing_trades(stage, rows, books).items():
        for trade in missing:
            if not any(product in gap.products and gap.first <= trade <= gap.last for gap in told):
                findings.lost.append(f"trade {trade} of {product}")
    if told and "rest_empty" not in stage.schedule.kinds:
        findings.problems.extend(f"REST has these trades, and there is a gap: {gap}" for gap in told)


def _check_images(stage: Stage, findings: Findings) -> None:
    """Which images of books there must be, `rxbridge verify` says; none of them may tell of what cannot be.

    The Exchange's frames have no numbers by which a loss could be seen, so its books may be crossed where frames are
    lost; and a fault may send a book that there never was.
    """
    if "huge" in stage.schedule.kinds or (stage.schedule.feed == "exchange" and not has_exact_books(stage.schedule)):
        return
    crossed = [image.event_id for image in images(stage.database) if image.is_crossed]
    findings.problems.extend(f"a crossed book was told of: {key}" for key in crossed)


def _check_verify(stage: Stage, books: Books, findings: Findings) -> None:
    code, output = command(stage, "verify", "--json")
    if code not in (0, _AUDIT_FAILED):
        findings.problems.append(f"verify ended with {code}")
        return
    figures = findings.figures = json.loads(output)
    accounted = sum(figures[name] for name in ("delivered", "dead", "dropped", "waiting"))
    if figures["received"] != accounted:
        findings.problems.append(f"the books do not balance: {figures}")
    findings.lost.extend(f"delivered, and not stored: {key}" for key in figures["missing_ids"])
    if figures["missing"] > len(figures["missing_ids"]):
        findings.lost.append(f"and {figures['missing'] - len(figures['missing_ids'])} more")
    if figures["duplicates"] and not findings.duplicated:
        findings.problems.append(f"verify sees duplicates where there are none: {figures['duplicates']}")
    if figures["waiting"] and not stage.may_wait:
        findings.problems.append(f"{figures['waiting']} events wait for ever")
    damaged = stage.schedule.kinds & FILE_FAULTS
    if figures["unreadable"] and not damaged:
        findings.problems.append(f"frames are unreadable, and nothing has damaged the file: {books.gaps}")
    if code and not (damaged and figures["unreadable"]) and findings.ok:
        findings.problems.append(f"verify failed without a reason: {figures}")
    if figures["dead"] and not any(KINDS[kind].dead_letters for kind in stage.schedule.kinds):
        findings.problems.append(f"{figures['dead']} dead letters without a reason")


def _check_gaps(stage: Stage, books: Books, findings: Findings) -> None:
    """What `rxbridge gaps` prints is what the journal has."""
    code, output = command(stage, "gaps", "--json")
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if code != 0:
        findings.problems.append(f"gaps ended with {code}")
        return
    told = Counter(line["kind"] for line in lines)
    known = Counter(gap.kind for gap in books.market_gaps)
    if any(told[kind] != count for kind, count in known.items()):
        findings.silent.append(f"gaps tells of {dict(told)}, the journal knows of {dict(known)}")


def _check_output(stage: Stage, findings: Findings) -> None:
    for log in sorted(stage.folder.glob("*.log")):
        text = log.read_text(encoding="utf-8", errors="replace")
        if stage.key in text:
            findings.problems.append(f"the key is in {log.name}")
        if "Traceback" in text and log.name != "pulsestream.log":
            findings.problems.append(f"a traceback is in {log.name}")


def command(stage: Stage, name: str, *options: str) -> tuple[int, str]:
    """Run `rxbridge NAME` on the stage's journal; its exit code and standard output. All of it is kept in a log."""
    done = subprocess.run(
        [sys.executable, "-m", "rxbridge", name, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=stage.folder,
        env=environment(stage.bridge_environment()),
        timeout=COMMAND_SECONDS,
    )
    (stage.folder / f"{name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    return done.returncode, done.stdout
