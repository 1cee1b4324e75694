"""Which pipelines an audit runs: those that ran when the frames were delivered."""

from __future__ import annotations

from rxbridge.custom_pipelines import (
    BUILTIN,
    BUILTIN_ONLY,
    Pipelines,
    Run,
    judged_after,
    read_history,
    read_withheld,
)
from rxbridge.errors import ConfigError
from rxbridge.journal import Journal


def run_as_delivered(journal: Journal, pipelines: Pipelines = BUILTIN_ONLY) -> Run:
    """How the frames that are kept were made events of.

    The built-in pipeline always runs, as it knows the trades; its events count where it ran in the delivery as well.
    Those of users' pipelines count behind the first checkpoint of which all frames are kept: before it, a part of their
    state is gone.

    Args:
        journal: Which pipelines ran from where on stands in it.
        pipelines: Where to find the users' ones.

    Raises:
        ConfigError: One of those that ran is not among these.
        JournalError: The journal cannot be read.
    """
    history = read_history(journal)
    ran = history.names()
    missing = ran - {BUILTIN, *pipelines.names}
    if missing:
        raise ConfigError(
            "run.pipeline",
            f"the journal has frames that were delivered by {', '.join(sorted(missing))}, not given here",
            "name every pipeline that ran, as in the run: --pipeline",
        )
    if ran == {BUILTIN}:
        return Run()
    custom = tuple(pipeline for pipeline in pipelines.custom if pipeline.name in ran)
    begin = judged_after(journal)

    def counts(name: str, offset: int) -> bool:
        return (name == BUILTIN or offset > begin) and history.counts(name, offset)

    return Run(Pipelines(builtin=True, custom=custom), counts=counts, withheld=read_withheld(journal, 0))
