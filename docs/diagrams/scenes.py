"""All scenes, by the name of the operator."""

from docs.diagrams import general, market
from docs.diagrams.scene import FOLDER, SCENES

MODULES = (general, market)

__all__ = ["FOLDER", "MODULES", "SCENES"]
