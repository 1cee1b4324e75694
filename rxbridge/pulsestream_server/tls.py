"""HTTPS, and certificates that are not the right ones."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from rxbridge.errors import ConfigError
from rxbridge.faults import Fault, Faults

FAULT = "wrong_certificate"


def tls_context(certificate: str | Path, key: str | Path, *, setting: str = "tls_certificate") -> ssl.SSLContext:
    """What a server needs for TLS.

    Args:
        certificate: A PEM file: the server's certificate, and those between it and a trusted one.
        key: A PEM file: the private key, not encrypted.
        setting: What an error calls it.

    Raises:
        ConfigError: A file cannot be read, is none, or does not belong to the other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With a password that is none, an encrypted key is an error; without, OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        problem = f"the certificate {certificate} with the key {key} cannot be used: {error.strerror or error}"
        raise ConfigError(setting, problem) from None
    return context


def faulty_tls_context(certificate: str | Path, key: str | Path, faults: Faults) -> ssl.SSLContext:
    """Likewise; but a connection that a `wrong_certificate` hits is shown another certificate.

    Raises:
        ConfigError: As for `tls_context`.
    """
    context = tls_context(certificate, key)
    others: Mapping[Fault, ssl.SSLContext] = {
        fault: tls_context(fault.text("certificate"), fault.text("key"), setting=FAULT) for fault in faults.of(FAULT)
    }

    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        # OpenSSL asks this of every connection, also of those that name no server.
        if fault := faults.active(FAULT):
            faults.fired(fault)
            connection.context = others[fault]

    if others:
        context.sni_callback = choose
    return context
