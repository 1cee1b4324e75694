"""Run notebooks and write their pages: `python -m docs.notebooks`, or with the numbers of those that are meant."""

import sys
import tempfile

from docs.notebooks.pages import NOTEBOOKS, executed, read, write

for path in NOTEBOOKS:
    if not sys.argv[1:] or path.stem.partition("_")[0] in sys.argv[1:]:
        with tempfile.TemporaryDirectory(prefix="rxbridge-notebook-") as folder:
            write(path, executed(read(path), folder))
