"""Draw all scenes into this folder: `python -m docs.diagrams`."""

from docs.diagrams.scenes import FOLDER, SCENES

for name, draw in sorted(SCENES.items()):
    (FOLDER / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
