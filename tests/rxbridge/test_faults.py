"""Schedules of faults: what a file may say, what lasts when, and what is counted."""

import string
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.errors import ConfigError
from rxbridge.faults import KINDS, Fault, Faults, parse_faults, read_faults, written

REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "subscription_error": {"product": "BTC-USD"},
    "partial_ack": {"channel": "matches"},
    "rest_slow": {"delay_seconds": 1.5},
    "hang": {"delay_seconds": 30, "stores": True},
    "wrong_certificate": {"certificate": "other.pem", "key": "other.key"},
}
NAMES = sorted({kind for kinds in KINDS.values() for kind in kinds})


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def started(*faults: Fault, seed: int = 1) -> tuple[Faults, Clock]:
    clock = Clock()
    schedule = Faults(faults, side="feed", seed=seed, clock=clock)
    schedule.start()
    return schedule, clock


@pytest.mark.parametrize("kind", NAMES)
def test_every_kind_can_be_written_with_no_more_than_it_needs(kind: str) -> None:
    fault = Fault(kind, **REQUIRED.get(kind, {}))
    assert parse_faults(written([fault])) == (fault,)


def test_the_kinds_are_those_that_are_promised() -> None:
    feed = """drop close reset silence trickle duplicate reorder garbage binary truncate huge unknown level3
        missing_field null_field last_trade_id_zero subscription_error partial_ack clock
        rest_429 rest_500 rest_slow rest_empty"""
    sink = """refuse reset fail unauthorized too_many lose partial out_of_shape html hang slow redirect
        wrong_certificate"""
    assert (set(KINDS["feed"]), set(KINDS["sink"])) == (set(feed.split()), set(sink.split()))


def test_a_file_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(
        """
        [[fault]]
        kind = "close"
        at = 5
        every = 30.0
        code = 1012
        reason = "naïve \\u0000 \\u007f"

        [[fault]]
        kind = "too_many"
        seconds = 3
        retry_after = "date"
        """,
        encoding="utf-8",
    )
    first, second = read_faults(path)
    assert first == Fault("close", at=5.0, every=30.0, code=1012, reason="naïve \0 \x7f")
    assert (first.whole("code"), first.text("reason")) == (1012, "naïve \0 \x7f")
    assert (second.kind, second.seconds, second.text("retry_after")) == ("too_many", 3, "date")
    assert parse_faults(written((first, second))) == (first, second)


def test_an_empty_file_has_no_faults() -> None:
    assert parse_faults("") == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('kind = "clsoe"', "f.toml: fault 1: kind: unknown fault 'clsoe'; did you mean 'close'?"),
        ('kind = "drop"\nside = "sink"', "f.toml: fault 1: kind: unknown fault 'drop' of the sink; known are fail, "),
        ('kind = "drop"\nside = "fed"', "f.toml: fault 1: drop.side: unknown side 'fed'; did you mean 'feed'?"),
        ("at = 1", "f.toml: fault 1: kind: is missing, or no text. It says what goes wrong"),
        ("kind = 7", "f.toml: fault 1: kind: is missing, or no text"),
        (
            'kind = "close"\nresaon = "x"',
            "f.toml: fault 1: close.resaon: unknown parameter of 'close'; did you mean 'reason'?",
        ),
        (
            'kind = "drop"\nprobabilty = 1',
            "f.toml: fault 1: drop.probabilty: unknown parameter of 'drop'; did you mean 'probability'?",
        ),
        ('kind = "drop"\nself = 1', "f.toml: fault 1: drop.self: unknown parameter"),
        ('kind = "rest_slow"', "f.toml: fault 1: rest_slow.delay_seconds: 'rest_slow' needs it: seconds, 0 or more"),
        ('kind = "drop"\nat = -1', "drop.at: -1 is no value for it: it takes seconds, 0 or more"),
        ('kind = "drop"\nat = nan', "drop.at: nan is no value"),
        ('kind = "drop"\nat = "soon"', "drop.at: 'soon' is no value"),
        ('kind = "drop"\nat = true', "drop.at: True is no value"),
        ('kind = "drop"\nseconds = 0', "drop.seconds: 0 is no value for it: it takes seconds, above 0"),
        ('kind = "drop"\nevery = inf', "drop.every: inf is no value"),
        ('kind = "drop"\ntimes = 1.5', "drop.times: 1.5 is no value for it: it takes a whole number, 1 or more"),
        ('kind = "drop"\nprobability = 0', "drop.probability: 0 is no value for it: it takes a number above 0, up to"),
        ('kind = "drop"\nprobability = 2', "drop.probability: 2 is no value"),
        ('kind = "drop"\nevery = 5', "drop.every: needs `seconds` or `times` beside it"),
        ('kind = "reset"\nevery = 5', 'beside it. On the feed it takes no time: say side = "feed"'),
        ('kind = "drop"\nevery = 5\nseconds = 6', "drop.seconds: 6 is longer than every 5"),
        ('kind = "close"\ncode = 65536', "close.code: 65536 is no value for it: it takes a close code, 0 to 65535"),
        (f'kind = "close"\nreason = "{"é" * 62}"', "it takes text of 123 bytes at most"),
        ('kind = "trickle"\nbytes_per_second = 0', "it takes bytes a second, above 0"),
        ('kind = "rest_429"\nretry_after = "later"', 'it takes whole seconds, or "date"'),
        ('kind = "huge"\nbytes = [1]', "huge.bytes: [1] is no value"),
        ('kind = "hang"\ndelay_seconds = 1\nstores = 1', "hang.stores: 1 is no value for it: it takes true or false"),
        ('kind = "drop"\nproduct = {a = 1}', "drop.product: {'a': 1} is no value"),
    ],
)
def test_what_is_wrong_is_said_with_file_entry_and_name(entry: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_faults(f"[[fault]]\n{entry}\n", "f.toml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fault]\nkind = 'drop'", "f.toml: fault: is a list: write [[fault]]"),
        ("fault = [1]", "f.toml: fault 1: is a table: write [[fault]]"),
        ("[[faults]]\nkind = 'drop'", "f.toml: faults: unknown table; did you mean 'fault'?"),
        ("[[fault", "f.toml: is not valid TOML: "),
        ("[[fault]]\nkind = 'drop'\n[[fault]]\nkind = 'drpo'", "f.toml: fault 2: kind: unknown fault 'drpo'"),
    ],
)
def test_a_text_of_another_shape(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_faults(text, "f.toml")
    assert str(caught.value).startswith(message)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        read_faults(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match=r"latin\.toml: is no UTF-8"):
        read_faults(tmp_path / "latin.toml")


def test_a_parameter_asked_for_as_what_it_is_not() -> None:
    with pytest.raises(TypeError, match=r"retry_after of Fault\('rest_429', retry_after='date'\) is no number"):
        Fault("rest_429", retry_after="date").number("retry_after")
    with pytest.raises(TypeError, match="no text"):
        Fault("rest_429", retry_after=3).text("retry_after")
    with pytest.raises(TypeError, match="no whole number"):
        Fault("trickle", bytes_per_second=1.5).whole("bytes_per_second")


def test_nothing_happens_before_the_start_or_after_the_end() -> None:
    clock = Clock()
    fault = Fault("drop", at=5.0, seconds=2.0)
    faults = Faults([fault], side="feed", clock=clock)
    assert faults.active("drop") is None
    faults.start()
    for after, expected in ((0.0, None), (4.9, None), (5.0, fault), (6.9, fault), (7.0, None), (100.0, None)):
        clock.now = 1000.0 + after
        assert faults.active("drop") is expected
    assert faults.lasting("duplicate") == ()


def test_without_a_duration_it_lasts_to_the_end() -> None:
    faults, clock = started(Fault("drop", at=5.0))
    clock.now += 1e6
    assert faults.active("drop") is not None


def test_a_momentary_kind_without_a_duration_takes_no_time() -> None:
    fault = Fault("close", at=5.0, every=10.0)
    faults, clock = started(fault, Fault("reset", at=5.0, seconds=1.0))
    clock.now += 5.0
    assert faults.lasting("close") == ()
    assert faults.happens(fault)
    assert faults.active("reset") is not None
    assert faults.of("close", "reset") == tuple(faults)
    beginnings = fault.beginnings()
    assert [next(beginnings) for _ in range(3)] == [5.0, 15.0, 25.0]
    assert list(Fault("close", at=5.0).beginnings()) == [5.0]


def test_the_same_word_on_both_sides_and_what_is_of_the_other_side() -> None:
    faults = [Fault("reset"), Fault("reset", side="sink"), Fault("lose"), Fault("drop")]
    assert list(Faults(faults, side="feed")) == [faults[0], faults[3]]
    assert list(Faults(faults, side="sink")) == faults[:3]
    # A reset of the sink lasts; of the feed it is a moment.
    sink = Faults(faults[:1], side="sink")
    sink.start()
    assert sink.active("reset") == faults[0]


def test_it_happens_so_many_times_each_time_it_begins() -> None:
    faults, clock = started(Fault("drop", at=1.0, every=10.0, times=2))
    happened: list[float] = []
    for tenths in range(250):
        clock.now = 1000.0 + tenths / 10
        if (fault := faults.active("drop")) is not None:
            faults.fired(fault)
            happened.append(tenths / 10)
    assert happened == [1.0, 1.1, 11.0, 11.1, 21.0, 21.1]
    assert faults.counts == {"drop": 6}


def test_what_fired_is_reported_and_what_did_not_as_well() -> None:
    faults, _ = started(Fault("drop"), Fault("close"), Fault("lose"))
    for _ in range(3):
        faults.fired(faults.of("drop")[0])
    assert faults.report_line() == "faults fired: drop=3 close=0"
    assert Faults([Fault("lose")], side="feed").report_line() == "faults fired: none"


def test_the_dice_are_those_of_the_seed_and_of_each_fault_by_itself() -> None:
    drop, duplicate = Fault("drop", probability=0.3), Fault("duplicate", probability=0.3)

    def rolls(seed: int, *between: Fault) -> list[bool]:
        faults, _ = started(drop, duplicate, seed=seed)
        rolled: list[bool] = []
        for _ in range(2000):
            rolled.append(faults.active("drop") is not None)
            for other in between:
                faults.happens(other)
        return rolled

    assert rolls(7) == rolls(7, duplicate)
    assert rolls(7) != rolls(8)
    assert 0.2 < sum(rolls(7)) / 2000 < 0.4


def test_several_of_a_kind_each_have_their_chance() -> None:
    first, second = Fault("rest_slow", delay_seconds=1, times=1), Fault("rest_slow", delay_seconds=2)
    faults, _ = started(first, second, first)
    assert list(faults) == [first, second]
    assert faults.lasting("rest_slow") == (first, second)
    faults.fired(first)
    assert faults.active("rest_slow") == second


SECONDS = st.floats(0.001, 1e6)


@given(
    kind=st.sampled_from(["drop", "reorder", "missing_field", "truncate"]),
    at=st.floats(0, 1e6),
    period=st.none() | st.tuples(SECONDS, SECONDS).map(sorted),
    times=st.none() | st.integers(1, 10),
    probability=st.floats(0.001, 1),
    side=st.sampled_from([None, "feed"]),
    product=st.none() | st.text(min_size=1),
)
def test_what_is_written_is_read_again(  # noqa: PLR0917 Hypothesis passes them by name
    kind: str, at: float, period: list[float] | None, times: int | None, probability: float, side: Any, product: Any
) -> None:
    seconds, every = period or (None, None)
    fault = Fault(
        kind,
        at=at,
        seconds=seconds,
        every=every,
        times=times,
        probability=probability,
        side=side,
        product=product,
    )
    (again,) = parse_faults(written([fault]))
    assert again == fault
    assert (hash(again), repr(again), again.parameters) == (hash(fault), repr(fault), fault.parameters)


@given(at=st.floats(0, 1e3), seconds=st.floats(0.01, 10), rest=st.floats(0, 10), number=st.integers(0, 20))
def test_it_lasts_from_each_beginning_for_its_seconds(at: float, seconds: float, rest: float, number: int) -> None:
    fault = Fault("drop", at=at, seconds=seconds, every=seconds + rest + 0.01)
    beginnings = fault.beginnings()
    begins = [next(beginnings) for _ in range(number + 1)][-1]
    assert fault.occurrence(begins + seconds / 2) == number
    assert fault.end(number) == pytest.approx(begins + seconds)
    assert fault.occurrence(begins + seconds + rest + 0.005) in ({None} if rest > 0 else {None, number})
    assert fault.occurrence(at / 2 - 0.001) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(string.printable, max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_lowercase, max_size=5), inner),
    ),
    st.sampled_from(NAMES),
    st.sampled_from(["at", "seconds", "every", "times", "probability", "side", "code", "product", "field", "stores"]),
)
def test_whatever_a_value_is_it_is_taken_or_refused_by_name(value: Any, kind: str, name: str) -> None:
    try:
        fault = Fault(kind, **{**REQUIRED.get(kind, {}), name: value})
    except ConfigError as error:
        assert error.setting in {name, "every", "kind", "seconds"}  # noqa: PT017 that it may be raised is the point
    else:
        assert tomllib.loads(written([fault]))["fault"][0]["kind"] == kind
