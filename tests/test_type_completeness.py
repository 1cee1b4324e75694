"""Whoever uses the packages gets types: of every public symbol, one that each checker infers alike."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("package", ["operators", "rxbridge"])
def test_the_type_of_every_public_symbol_is_known(package: str) -> None:
    # An editable installation is found by no checker, and a virtual environment by its path only.
    paths = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    options = ["--pythonpath", sys.executable, "--ignoreexternal", "--outputjson", "--verifytypes", package]
    run = subprocess.run(
        [sys.executable, "-m", "pyright", *options],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(run.stdout)["typeCompleteness"]
    unknown = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in report["symbols"]
        if symbol["isExported"] and (not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])
        for diagnostic in symbol["diagnostics"]
    ]

    assert not unknown
    assert report["completenessScore"] == 1
    assert report["exportedSymbolCounts"]["withKnownType"] > 100
