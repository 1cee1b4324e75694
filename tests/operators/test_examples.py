"""Every example in a docstring and in the catalogue runs, and every operator is in the catalogue."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import operators

MODULES = [module.name for module in pkgutil.walk_packages(operators.__path__, "operators.")]
CATALOGUE = Path(__file__).parents[2] / "docs" / "operators.md"
GUIDES = [CATALOGUE.with_name(name) for name in ("write-an-operator.md", "test-a-pipeline.md")]


def examples(document: Path) -> list[str]:
    return re.findall(r"^```pycon\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


EXAMPLES = examples(CATALOGUE)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))

    assert result.failed == 0


@pytest.mark.parametrize("name", operators.__all__)
def test_every_operator_has_an_example_and_a_chapter(name: str) -> None:
    operator = getattr(operators, name)

    assert ">>> " in operator.__doc__
    assert "\n    Laws:\n" in operator.__doc__
    assert re.search(rf"^## .*`{name}`", CATALOGUE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_catalogue_run(number: int) -> None:
    example = doctest.DocTestParser().get_doctest(EXAMPLES[number], {}, f"example {number}", str(CATALOGUE), 0)

    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_examples_of_a_guide_run_one_after_the_other(guide: Path) -> None:
    example = doctest.DocTestParser().get_doctest("\n".join(examples(guide)), {}, guide.name, str(guide), 0)

    assert doctest.DocTestRunner().run(example).failed == 0


def test_every_chapter_of_the_catalogue_has_an_example_laws_and_traps() -> None:
    chapters = re.split(r"^## (?=`)", CATALOGUE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]

    assert len(chapters) == len(EXAMPLES)
    for chapter in chapters:
        assert all(part in chapter for part in ("```pycon\n", "**Laws.**", "**Traps avoided.**")), chapter[:20]
