"""Connections that go wrong on purpose: refused, reset, with a certificate of somebody else."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from rxbridge.errors import ConfigError, ServerFailed, Unreachable
from rxbridge.events import EncodedEvent
from rxbridge.faults import Fault
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.pulsestream_server import EmbeddedPulseStream, listening

KEY = "the-key-of-this-test"
ALL = [f"event-{number}" for number in range(1, 6)]

NewBatch = Callable[..., list[EncodedEvent]]
WaitFor = Callable[..., None]


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port_of(url))) == 0


def test_connections_are_refused_and_then_taken_again_on_the_same_port(
    faulty: Any, new_batch: NewBatch, wait_for: WaitFor
) -> None:
    pulsestream = faulty(Fault("refuse", at=0.3, seconds=4.0))
    url = pulsestream.server.url
    wait_for(lambda: not is_open(url))
    with pytest.raises(Unreachable, match="ConnectionRefusedError"):
        pulsestream.client.post_batch(new_batch())
    with socket.socket() as another, pytest.raises(OSError, match="in use"):
        another.bind(("127.0.0.1", port_of(url)))
    wait_for(lambda: is_open(url))

    assert [outcome.fate for outcome in pulsestream.client.post_batch(new_batch()).outcomes] == ["stored"] * 5
    assert (pulsestream.stored, pulsestream.server.faults_fired) == (ALL, {"refuse": 1})


def test_a_refusal_closes_the_connections_that_are_open(faulty: Any, wait_for: WaitFor) -> None:
    pulsestream = faulty(Fault("refuse", at=2.0))
    with socket.create_connection(("127.0.0.1", port_of(pulsestream.server.url))) as idle:
        idle.settimeout(30)

        assert idle.recv(1) == b""
    assert pulsestream.server.faults_fired == {"refuse": 1}


def test_a_request_that_runs_is_answered_before_its_connection_is_closed(faulty: Any, new_batch: NewBatch) -> None:
    pulsestream = faulty(Fault("hang", delay_seconds=3.0, stores=True), Fault("refuse", at=2.0))
    answer = pulsestream.client.post_batch(new_batch())

    assert [outcome.fate for outcome in answer.outcomes] == ["stored"] * 5
    with pytest.raises(Unreachable, match="ConnectionRefusedError"):
        pulsestream.client.check()


def test_refusals_come_again_and_may_overlap(faulty: Any, wait_for: WaitFor) -> None:
    often = Fault("refuse", every=0.2, seconds=0.1)
    pulsestream = faulty(often, Fault("refuse", at=0.05, seconds=0.1))
    for times in range(1, 4):
        wait_for(lambda least=times: pulsestream.server.faults_fired["refuse"] >= least)
        wait_for(lambda: is_open(pulsestream.server.url))


def test_a_server_that_refuses_can_be_ended_and_started_again(faulty: Any, wait_for: WaitFor) -> None:
    server = EmbeddedPulseStream(faults=[Fault("refuse", at=0.2)])
    for _ in range(2):
        with server:
            wait_for(lambda: not is_open(server.url))
            assert server.faults_fired == {"refuse": 1}
        with EmbeddedPulseStream(port=port_of(server.url)) as other:
            assert is_open(other.url)


def raw_request(url: str, body: bytes, announced: int) -> socket.socket:
    head = (
        "POST /api/v1/ingestion/events/batch HTTP/1.1\r\nHost: x\r\n"
        f"X-API-Key: {KEY}\r\nContent-Length: {announced}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", port_of(url)))
    connection.settimeout(30)
    connection.sendall(head.encode() + body)
    return connection


def test_a_reset_comes_in_the_middle_of_a_request(faulty: Any, new_batch: NewBatch) -> None:
    pulsestream = faulty(Fault("reset", times=1))
    # Most of the body is never sent: whoever waited for all of it would wait for ever.
    with (
        raw_request(pulsestream.server.url, b'{"events":[', 1_000_000) as connection,
        pytest.raises(ConnectionResetError),
    ):
        connection.recv(1)

    assert pulsestream.stored == []
    assert pulsestream.server.faults_fired == {"reset": 1}


def test_a_reset_may_come_in_the_middle_of_the_answer_and_then_all_is_stored(
    faulty: Any, new_batch: NewBatch, wait_for: WaitFor
) -> None:
    pulsestream = faulty(Fault("reset", after="response", times=1))
    body = b'{"events":[' + b",".join(event.body for event in new_batch()) + b"]}"
    with raw_request(pulsestream.server.url, body, len(body)) as connection:
        wait_for(lambda: len(connection.recv(65_536, socket.MSG_PEEK)) > 200)
        received = connection.recv(65_536)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)

    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert len(rest) == length // 2
    wait_for(lambda: pulsestream.stored == ALL)


def test_a_reset_hits_every_route(faulty: Any) -> None:
    pulsestream = faulty(Fault("reset"))

    with pytest.raises(Unreachable):
        pulsestream.client.check()


def test_https_is_spoken_and_nothing_else(faulty: Any, new_batch: NewBatch, new_certificate: Any) -> None:
    files = new_certificate("IP:127.0.0.1")
    pulsestream = faulty(tls_certificate=files.certificate, tls_key=files.key, ca_file=files.certificate)
    url = pulsestream.server.url
    pulsestream.client.post_batch(new_batch())

    assert (url.partition(":")[0], pulsestream.stored) == ("https", ALL)
    with pytest.raises(requests.ConnectionError):
        requests.get(url.replace("https", "http") + "/health", timeout=30)


@pytest.mark.parametrize(
    "fault", [Fault("fail", times=1), Fault("reset", times=1), Fault("reset", after="response", times=1)], ids=repr
)
def test_faults_happen_over_tls_too(faulty: Any, new_batch: NewBatch, new_certificate: Any, fault: Fault) -> None:
    files = new_certificate("IP:127.0.0.1")
    pulsestream = faulty(fault, tls_certificate=files.certificate, tls_key=files.key, ca_file=files.certificate)
    # Python's TLS makes an end of the stream of a reset; that the kernel sent one is what the others show.
    with pytest.raises((Unreachable, ServerFailed), match=r"closed connection|IncompleteRead|unexpected error"):
        pulsestream.client.post_batch(new_batch())
    pulsestream.client.post_batch(new_batch())

    assert pulsestream.stored == ALL


def test_the_refusal_of_connections_works_with_tls(faulty: Any, new_certificate: Any, wait_for: WaitFor) -> None:
    files = new_certificate("IP:127.0.0.1")
    tls = {"tls_certificate": files.certificate, "tls_key": files.key}
    # It comes again, in case that the server slept through the first one.
    pulsestream = faulty(Fault("refuse", at=0.2, every=10.0, seconds=0.3), ca_file=files.certificate, **tls)
    # Who looks late finds it open again.
    wait_for(lambda: pulsestream.server.faults_fired["refuse"] >= 1)

    def is_well() -> bool:
        with suppress(Unreachable):
            pulsestream.client.check()
            return True
        return False

    wait_for(is_well)


def test_another_certificate_is_shown_to_whoever_connects_meanwhile(
    faulty: Any, new_batch: NewBatch, new_certificate: Any
) -> None:
    own, wrong = new_certificate("IP:127.0.0.1"), new_certificate("DNS:somebody.invalid")
    fault = Fault("wrong_certificate", certificate=str(wrong.certificate), key=str(wrong.key), times=2)
    pulsestream = faulty(fault, tls_certificate=own.certificate, tls_key=own.key, ca_file=own.certificate)
    for _ in range(2):
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED") as caught:
            pulsestream.client.post_batch(new_batch())
        assert KEY not in str(caught.value)
    pulsestream.client.post_batch(new_batch())

    assert (pulsestream.stored, pulsestream.server.faults_fired) == (ALL, {"wrong_certificate": 2})


def test_the_certificate_changes_for_those_who_are_connected_as_well(faulty: Any, new_certificate: Any) -> None:
    own, wrong = new_certificate("IP:127.0.0.1"), new_certificate("IP:127.0.0.1")
    fault = Fault("wrong_certificate", at=2.0, certificate=str(wrong.certificate), key=str(wrong.key))
    pulsestream = faulty(fault, tls_certificate=own.certificate, tls_key=own.key, ca_file=own.certificate)
    trusting = ssl.create_default_context(cafile=str(own.certificate))
    with (
        socket.create_connection(("127.0.0.1", port_of(pulsestream.server.url))) as plain,
        trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.settimeout(30)
        assert connection.recv(1) == b""

    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        pulsestream.client.check()
    with PulseStreamClient(pulsestream.server.url, KEY, ca_file=wrong.certificate) as other:
        other.check()


def test_what_tls_needs_is_asked_for(new_certificate: Any, tmp_path: Path) -> None:
    own, other = new_certificate("IP:127.0.0.1"), new_certificate("IP:127.0.0.1")
    fault = Fault("wrong_certificate", certificate=str(own.certificate), key=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="tls_key: TLS needs a certificate and its key"):
        EmbeddedPulseStream(tls_certificate=own.certificate)
    with pytest.raises(ConfigError, match="tls_certificate: TLS needs"):
        EmbeddedPulseStream(tls_key=own.key)
    with pytest.raises(ConfigError, match="wrong_certificate: the server speaks no TLS"):
        EmbeddedPulseStream(faults=[fault])
    with pytest.raises(ConfigError, match=r"tls_certificate: the certificate .* cannot be used: .*MISMATCH"):
        EmbeddedPulseStream(tls_certificate=own.certificate, tls_key=other.key).start()
    with pytest.raises(ConfigError, match=r"wrong_certificate: .*none cannot be used: No such file"):
        EmbeddedPulseStream(tls_certificate=own.certificate, tls_key=own.key, faults=[fault]).start()


def test_a_port_that_is_lost_meanwhile_ends_the_server_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedPulseStream(faults=[Fault("refuse", at=1.0)])
    server.start()

    def lost(port: int) -> socket.socket:
        raise OSError(f"port {port} is somebody else's")

    monkeypatch.setattr(listening, "bound", lost)
    with pytest.raises(OSError, match="somebody else's"):
        server.wait()
    server.stop()
    assert not is_open(server.url)
