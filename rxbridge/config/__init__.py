"""The settings: one class a section, and where each value came from.

Arguments go over the environment, that over the file, that over the defaults. Every unknown name is an error that
suggests the nearest known one, because a setting that is silently ignored is worse than none.
"""

from rxbridge.config.loading import Origin, Settings, differences, environment_name, load
from rxbridge.config.sections import SECTIONS, PulseStreamSettings

__all__ = ["SECTIONS", "Origin", "PulseStreamSettings", "Settings", "differences", "environment_name", "load"]
