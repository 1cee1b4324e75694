"""A journal that was too small for what a pipeline has open: the delivery goes on with what is kept, and says so."""

from unittest.mock import patch

from rxbridge.custom_pipelines import rebuild_from
from rxbridge.journal import MemoryJournal
from rxbridge.progress import CONSUMER, STATE_CONSUMER
from tests.rxbridge.custom_pipelines.support import Half, append, trade
from tests.rxbridge.custom_pipelines.test_delivery import candles

_TOLD = "WARNING [LET GO] The journal was full, and has no more what your pipelines had open"


def test_what_is_open_is_made_of_what_is_kept_after_a_restart(log: list[str]) -> None:
    # All of one candle, which is open for all the time.
    contents = [trade(number, 0) for number in range(1, 101)]
    with (
        MemoryJournal(max_bytes=8_000, keep_bytes=0, essential=CONSUMER) as journal,
        patch("rxbridge.custom_pipelines.holdings.WARM_UP_FRAMES", 0),
    ):
        append(journal, contents[:10])
        assert Half(journal, candles).run()
        append(journal, contents[10:20])
        assert Half(journal, candles).run()
        assert journal.cursor(STATE_CONSUMER) == 0
        assert not any(line.startswith(_TOLD) for line in log)

        for first in range(20, 100, 10):
            append(journal, contents[first : first + 10])
            assert Half(journal, candles).run()
        append(journal, [trade(101, 10)])
        gone = journal.let_go()
        assert gone > 0
        assert list(journal.gaps()) == []
        # An audit makes the same of the same frames, so the checkpoint of this start is one that it can go by.
        assert rebuild_from(journal, STATE_CONSUMER, 100) == gone == journal.size().kept_after
        half = Half(journal, candles)
        assert half.run()

        assert any(line.startswith(f"{_TOLD}: it is made of the frames from {gone + 1} on") for line in log)
        (candle,) = half.contents().values()
        assert candle["trades"] == [str(number) for number in range(gone + 1, 101)]
