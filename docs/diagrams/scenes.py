"""All scenes, by the name of the operator."""

from docs.diagrams import general, market, signals
from docs.diagrams.scene import FOLDER, SCENES

MODULES = (general, market, signals)

__all__ = ["FOLDER", "MODULES", "SCENES"]
