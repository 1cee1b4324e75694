"""From a name to a pipeline: what is found, and how what is not is told."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rxbridge.custom_pipelines import BUILTIN_ONLY, load_pipelines
from rxbridge.errors import ConfigError
from rxbridge.journal import MemoryJournal
from rxbridge.progress import STATE_CONSUMER
from tests.rxbridge.custom_pipelines import candle_pipeline
from tests.rxbridge.custom_pipelines.support import Half, append, trade

SOURCE = Path(candle_pipeline.__file__)
MODULE = "tests.rxbridge.custom_pipelines.candle_pipeline"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module of a name that nothing else has, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(text: str) -> str:
        name = f"written_{abs(hash((text, tmp_path)))}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    yield write
    for name in set(sys.modules) - before:
        if "written_" in name:
            del sys.modules[name]


def test_names_are_modules_and_files_and_the_built_in_one() -> None:
    loaded = load_pipelines([f"{SOURCE}:beats", "builtin", MODULE])

    assert loaded.builtin
    assert [pipeline.name for pipeline in loaded.custom] == ["candle_pipeline:beats", f"{MODULE}:pipeline"]
    assert loaded.names == ("builtin", "candle_pipeline:beats", f"{MODULE}:pipeline")
    assert load_pipelines(["builtin"]) == BUILTIN_ONLY


def test_the_working_directory_is_looked_into(written: Callable[[str], str]) -> None:
    name = written("def pipeline(frames): return frames")

    assert load_pipelines([name]).names == (f"{name}:pipeline",)
    assert load_pipelines([f"{name}.py"]).names == (f"{name}:pipeline",)


def test_a_mark_says_that_it_holds_state(written: Callable[[str], str]) -> None:
    marked = "from rxbridge.custom_pipelines import stateful\n@stateful\ndef pipeline(frames): return frames\n"
    name = written(f"{marked}def other(frames): return frames")

    loaded = load_pipelines([name, f"{name}:other"])

    assert [pipeline.is_stateful for pipeline in loaded.custom] == [True, False]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:pipeline", "there is no module 'no_such_module'. it is looked for in"),
        ("no/such/file.py:pipeline", "there is no file no/such/file.py"),
        (f"{MODULE}:pipelin", "has no function 'pipelin'; did you mean 'pipeline'?"),
        (f"{MODULE}:NOT_A_FUNCTION", "is no function, but of type int"),
        (f"{MODULE}:without_parameters", "cannot be called with frames: too many positional arguments. write pipeline"),
        (f"{MODULE}:not_a_stream", "gives no Observable, but int. return frames.pipe(...)"),
        (":pipeline", "names no pipeline"),
        (f"{MODULE}:", "names no pipeline"),
    ],
)
def test_what_is_none_is_told_with_what_to_do(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pipelines([name])

    assert str(caught.value).startswith("run.pipeline: ")
    assert words in str(caught.value)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(2)", "cannot be imported: SystemExit: 2"),
        ("def pipeline(frames:", "cannot be imported: SyntaxError"),
        ("def pipeline(frames):\n    raise KeyError('x')", "cannot be built: KeyError: 'x'"),
    ],
)
@pytest.mark.parametrize("form", ["{}:pipeline", "{}.py:pipeline"])
def test_what_fails_in_the_users_file_is_told_with_its_line(
    written: Callable[[str], str], text: str, words: str, form: str
) -> None:
    name = written(text)

    with pytest.raises(ConfigError) as caught:
        load_pipelines([form.format(name)])

    assert words in str(caught.value)
    assert f"{name}.py, line {2 if 'KeyError' in words else 1})" in str(caught.value)


def test_one_pipeline_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        load_pipelines([MODULE, f"{MODULE}:pipeline"])


def test_a_scheduler_is_given_by_its_name(written: Callable[[str], str]) -> None:
    name = written("def pipeline(frames, *, scheduler): return frames if scheduler.now.year == 1970 else None")

    # To try it, it is called with a clock that has not begun.
    assert load_pipelines([name]).names == (f"{name}:pipeline",)


def examples() -> list[str]:
    """The modules that the document shows."""
    document = Path(__file__).parents[3] / "docs" / "custom-pipelines.md"
    return re.findall(
        r"^```python\n(# \w+\.py\n.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_first_example_of_the_document_picks_large_trades(written: Callable[[str], str]) -> None:
    (loaded,) = load_pipelines([written(examples()[0])]).custom

    with MemoryJournal() as journal:
        append(journal, [trade(1, 0, size="1.5"), trade(2, 0, size="0.5")])
        half = Half(journal, loaded.build)

        assert half.run()

        assert half.contents() == {
            "large-BTC-USD-1": {"product_id": "BTC-USD", "price": "1", "size": "1.5"},
        }


def test_the_second_example_of_the_document_holds_the_open_minutes(written: Callable[[str], str]) -> None:
    (loaded,) = load_pipelines([written(examples()[1])]).custom

    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), trade(2, 10, "ETH-USD"), trade(3, 70), trade(4, 80), trade(5, 90, "ETH-USD")])
        half = Half(journal, loaded.build)

        assert half.run()

        assert list(half.contents()) == ["minute-BTC-USD-2023-11-14T22:13", "minute-ETH-USD-2023-11-14T22:13"]
        assert journal.cursor(STATE_CONSUMER) == 2, "the open minute of BTC-USD begins with the third frame"
