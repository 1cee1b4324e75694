"""The command line. Data goes to standard output, talk to standard error."""

from rxbridge.cli.application import main

__all__ = ["main"]
