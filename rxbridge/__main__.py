"""`python -m rxbridge` is `rxbridge`."""

from rxbridge.cli import main

main()
