"""Whether trades are contiguous, as the audit sees it."""

from hypothesis import given
from hypothesis import strategies as st

from rxbridge.audit.result import Hole
from rxbridge.audit.trades import Spans, TradeBook
from rxbridge.backfill.state import ProductState, State
from rxbridge.backfill.tracker import LEAP
from rxbridge.journal import MarketGap
from rxbridge.messages import Frame, Trade

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])))
EVERYTHING_FOLLOWED = State(offset=10**9)


@given(SPANS, st.integers(0, 70), st.integers(0, 70))
def test_spans_are_a_set_of_integers(pairs: list[tuple[int, int]], one: int, other: int) -> None:
    spans, model = Spans(), set[int]()
    for first, last in pairs:
        spans.add(first, last)
        model.update(range(first, last + 1))

    assert {number for first, last in spans for number in range(first, last + 1)} == model
    found = list(spans)
    assert all(first <= last for first, last in found)
    assert all(found[at][1] + 1 < found[at + 1][0] for at in range(len(found) - 1))
    first, last = min(one, other), max(one, other)
    missing = [number for low, high in spans.missing(first, last) for number in range(low, high + 1)]
    assert missing == [number for number in range(first, last + 1) if number not in model]


class Book:
    """A book, and frames for it with offsets of their own."""

    def __init__(self, *, complete: bool = True, backfill: State = EVERYTHING_FOLLOWED) -> None:
        self.book = TradeBook(complete=complete, backfill=backfill)
        self.offset = 0

    def live(self, *trades: int, product: str = "BTC-USD") -> None:
        for trade in trades:
            self.see(trade, product, connection=7)

    def fetched(self, *trades: int, product: str = "BTC-USD") -> None:
        for trade in trades:
            self.see(trade, product, connection=0)

    def see(self, trade: int | str | None, product: str, connection: int) -> None:
        self.offset += 1
        frame = Frame(b"", 1, connection, 0, self.offset)
        source = "rest" if connection == 0 else None
        self.book.read(frame)
        self.book.trade(Trade(frame=frame, product_id=product, trade_id=trade, rxbridge_source=source))

    def missing(self, *gaps: MarketGap) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        holes, still_open = self.book.missing(gaps)
        return [(hole.first, hole.last) for hole in holes], [(hole.first, hole.last) for hole in still_open]


def gap(first: int, last: int, product: str = "BTC-USD") -> MarketGap:
    return MarketGap("trades", (product,), "matches", first, last, "why not", 1)


def test_trades_in_a_row_have_no_holes_whatever_their_order() -> None:
    book = Book()
    book.live(5, 6, 9, 7, 8, 10, 10, 6)
    book.live(100, product="ETH-USD")
    assert book.missing() == ([], [])


def test_a_hole_that_nothing_explains_is_told_of() -> None:
    book = Book()
    book.live(5, 6, 9)
    book.live(1, 4, product="ETH-USD")
    holes, _ = book.book.missing([])
    assert holes == [Hole("BTC-USD", 7, 8), Hole("ETH-USD", 2, 3)]


def test_a_backfilled_hole_is_none() -> None:
    book = Book()
    book.live(5, 9)
    book.fetched(6, 7, 8)
    assert book.missing() == ([], [])


def test_a_gap_on_record_explains_what_it_covers_and_no_more() -> None:
    book = Book()
    book.live(5, 15)
    assert book.missing(gap(7, 9), gap(6, 6, "ETH-USD"), gap(15, 20)) == ([(6, 6), (10, 14)], [])


def test_quotes_explain_no_trades() -> None:
    book = Book()
    book.live(5, 7)
    assert book.missing(MarketGap("quotes", ("BTC-USD",), "ticker", 1, 10, "disconnected", 1)) == ([(6, 6)], [])


def test_a_hole_that_the_backfill_knows_is_open() -> None:
    state = State(offset=3, products={"BTC-USD": ProductState(5, 20, None, [(8, 9), (19, 20)])})
    book = Book(backfill=state)
    book.live(5, 7, 12)
    # 6, 10 and 11 were fetched, or given up, as far as the backfill knows; and yet they are not there.
    assert book.missing() == ([(6, 6), (10, 11)], [(8, 9)])


def test_a_hole_that_the_backfill_has_not_come_to_is_open() -> None:
    book = Book(backfill=State(offset=2))
    book.live(5, 7, 12, 13)
    assert book.missing() == ([(6, 6)], [(8, 11)])


def test_what_a_damaged_file_lost_is_not_asked_for() -> None:
    book = Book()
    book.live(5, 6)
    book.offset += 10
    book.live(9, 11)
    assert book.missing() == ([(10, 10)], [])


def test_of_a_journal_that_was_pruned_only_what_follows_its_first_live_trade_counts() -> None:
    book = Book(complete=False)
    book.fetched(3, 4)
    book.live(100, 101, 103)
    book.fetched(90)
    assert book.missing() == ([(102, 102)], [])

    only_fetched = Book(complete=False)
    only_fetched.fetched(3, 9)
    assert only_fetched.missing() == ([], [])


def test_one_damaged_number_is_not_believed() -> None:
    book = Book()
    book.live(5, 6, LEAP + 1000, 7)
    book.see("", "BTC-USD", 7)
    book.see(None, "BTC-USD", 7)
    book.see(3, "", 7)
    assert book.missing() == ([], [])
