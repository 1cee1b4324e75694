from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reactivex import Observable

from rxbridge.messages import Frame
from tests.rxbridge.coinbase.servers import FeedServer, Observed, RawServer, feed_threads, observe, wait_for


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is reached directly, whatever the machine's settings are."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def closing() -> Iterator[Callable[[Any], Any]]:
    """Closes what it was given, newest first."""
    resources: list[Any] = []

    def keep(resource: Any) -> Any:
        resources.append(resource)
        return resource

    yield keep
    for resource in reversed(resources):
        resource.close()


@pytest.fixture
def feed_server(closing: Callable[[Any], Any]) -> Callable[..., FeedServer]:
    return lambda *scripts, **options: closing(FeedServer(*scripts, **options))


@pytest.fixture
def raw_server(closing: Callable[[Any], Any]) -> Callable[..., RawServer]:
    return lambda script, **options: closing(RawServer(script, **options))


@pytest.fixture
def watch(closing: Callable[[Any], Any]) -> Iterator[Callable[[Observable[Frame]], Observed]]:
    """Subscribes, and disposes in the end; no thread of a connection may be left."""
    subscribed: list[Observed] = []

    def subscribe(source: Observable[Frame]) -> Observed:
        subscribed.append(observe(source))
        return subscribed[-1]

    yield subscribe
    for observed in subscribed:
        observed.dispose()
    wait_for(lambda: not feed_threads())


@pytest.fixture
def full_listener() -> Iterator[int]:
    """The port of a listener whose queue is full, so that connecting to it waits."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.settimeout(0.0)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


class Certificate:
    """A self-signed certificate, made by the `openssl` command."""

    def __init__(self, folder: Path, names: str) -> None:
        self.file = str(folder / "certificate.pem")
        key = str(folder / "key.pem")
        request = ["-keyout", key, "-out", self.file, "-days", "2", "-subj", "/CN=feed"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        named = ["-addext", f"subjectAltName={names}"]
        openssl = shutil.which("openssl")
        assert openssl is not None
        subprocess.run([openssl, "req", "-x509", *kind, *request, *named], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file, key)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Certificate]:
    """Makes a certificate for names such as `IP:127.0.0.1`."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    return lambda names: Certificate(tmp_path_factory.mktemp("certificate"), names)
