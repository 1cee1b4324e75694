"""Two certificates for 127.0.0.1, of which the bridge is told to trust one. The processes run in their folder."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """The names of a certificate's file and of its key's."""

    certificate: str
    key: str


RIGHT = Pair("right.pem", "right.key")
WRONG = Pair("wrong.pem", "wrong.key")


def write_certificates(folder: Path) -> None:
    """Make both.

    Raises:
        CalledProcessError: openssl cannot.
    """
    for pair in (RIGHT, WRONG):
        files = ["-out", str(folder / pair.certificate), "-keyout", str(folder / pair.key)]
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run(["openssl", "req", "-x509", *kind, *subject, *files], check=True, capture_output=True)  # noqa: S607
