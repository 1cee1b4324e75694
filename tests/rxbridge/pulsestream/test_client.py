import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from loguru import logger
from requests.adapters import HTTPAdapter

from rxbridge.errors import (
    ConfigError,
    DeliveryError,
    ReadTimedOut,
    ServerFailed,
    Throttled,
    Unauthorized,
    Unreachable,
)
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import PulseStreamClient
from tests.ports import free_port

MakeEvents = Callable[..., list[EncodedEvent]]


def fates(answer: Any) -> list[str]:
    return [outcome.fate for outcome in answer.outcomes]


def test_a_batch_is_one_plain_request(
    server: Any, client: PulseStreamClient, make_events: MakeEvents, key: str
) -> None:
    events = make_events(3)

    assert fates(client.post_batch(events)) == ["stored"] * 3
    assert fates(client.post_batch(events)) == ["already_stored"] * 3

    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/api/v1/ingestion/events/batch")
    assert json.loads(request.body) == {"events": [json.loads(event.body) for event in events]}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-API-Key"] == key
    assert request.headers["Accept-Encoding"] == "identity"
    assert not {"Content-Encoding", "Authorization", "Cookie", "Transfer-Encoding"} & set(request.headers)


def test_the_environment_decides_nothing(
    server: Any, make_events: MakeEvents, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a proxy nor a .netrc nor a certificate bundle of the environment is used."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    with PulseStreamClient(server.url, key) as client:
        assert fates(client.post_batch(make_events(1))) == ["stored"]
    assert "Authorization" not in server.requests[0].headers


def test_check_asks_for_health_and_for_the_key(server: Any, client: PulseStreamClient) -> None:
    client.check()

    assert [request.path for request in server.requests] == ["/health", "/api/v1/ingestion/rate-limit"]


@pytest.mark.parametrize(("number", "expected"), [(0, ServerFailed), (1, Unauthorized)])
def test_check_says_what_is_wrong(server: Any, client: PulseStreamClient, number: int, expected: type) -> None:
    fault = server.status(401 if number else 503, {"message": "no"})
    server.script(*[server.otherwise] * number, fault)

    with pytest.raises(expected):
        client.check()


def test_check_does_not_take_a_login_page_for_an_answer(server: Any, client: PulseStreamClient) -> None:
    server.script(server.status(200, "<html>please log in</html>"))

    with pytest.raises(ServerFailed, match="please log in"):
        client.check()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, {"error": "HTTP_ERROR", "message": "Invalid API key"}), Unauthorized),
        ((400, {"message": {"errors": ["Rate limit exceeded. Limit: 100 events per 60 seconds"]}}), Throttled),
        ((429, "slow down"), Throttled),
        ((500, {"message": "Batch event ingestion failed"}), ServerFailed),
        ((413, "<html>413</html>"), ServerFailed),
        ((200, "<html>maintenance</html>"), ServerFailed),
        ((204, ""), ServerFailed),
        ((504, "<html>gateway</html>"), ReadTimedOut),
    ],
)
def test_an_answer_other_than_a_good_one_is_an_error_of_ours(
    server: Any, client: PulseStreamClient, make_events: MakeEvents, answer: Any, expected: type[DeliveryError]
) -> None:
    server.script(server.status(*answer))

    with pytest.raises(expected) as caught:
        client.post_batch(make_events(1))

    assert caught.value.retryable
    assert fates(client.post_batch(make_events(1))) == ["stored"]


def test_retry_after_is_by_our_clock(server: Any, make_events: MakeEvents, key: str) -> None:
    """The server's clock is years from ours."""
    server.date = "Wed, 01 May 2024 12:00:17 GMT"
    with PulseStreamClient(server.url, key, clock=lambda: 5000.0) as client:
        for retry_after, seconds in (("7", 7), ("Wed, 01 May 2024 12:00:30 GMT", 13), ("", 43)):
            server.script(server.status(429, "slow down", Retry_After=retry_after))
            with pytest.raises(Throttled) as caught:
                client.post_batch(make_events(1))
            assert caught.value.resume_at == 5000 + seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: Any, client: PulseStreamClient, make_events: MakeEvents, status: int
) -> None:
    server.script(server.status(status, "x" * 1000, Location=f"{server.url}/elsewhere?a=b"))

    with pytest.raises(ServerFailed, match=r"127\.0\.0\.1:[0-9]+/elsewhere"):
        client.post_batch(make_events(1))

    assert len(server.requests) == 1


def test_an_answer_has_a_longest_length(server: Any, make_events: MakeEvents, key: str) -> None:
    with PulseStreamClient(server.url, key, max_answer_bytes=1000) as client:
        server.script(server.status(200, "x" * 1001))
        with pytest.raises(ServerFailed, match="longer than 1000 bytes"):
            client.post_batch(make_events(1))
        assert fates(client.post_batch(make_events(1))) == ["stored"]


def test_a_compressed_answer_is_not_unpacked(server: Any, client: PulseStreamClient, make_events: MakeEvents) -> None:
    server.script(server.status(200, "not really", Content_Encoding="gzip"))

    with pytest.raises(ServerFailed, match="not really"):
        client.post_batch(make_events(1))


def test_no_answer_in_time(
    server: Any, hasty: PulseStreamClient, make_events: MakeEvents, wait_for: Callable[..., None]
) -> None:
    server.script(server.hang)

    with pytest.raises(ReadTimedOut) as caught:
        hasty.post_batch(make_events(1))

    assert caught.value.seconds == 0.25
    wait_for(lambda: server.requests)
    assert len(server.requests) == 1


def test_an_answer_that_never_ends_is_no_answer_in_time(
    server: Any, hasty: PulseStreamClient, make_events: MakeEvents
) -> None:
    server.script(server.drip)

    with pytest.raises(ReadTimedOut):
        hasty.post_batch(make_events(1))


def test_a_time_out_on_a_kept_connection_is_not_tried_again_at_once(
    server: Any, make_events: MakeEvents, key: str, wait_for: Callable[..., None]
) -> None:
    with PulseStreamClient(server.url, key, read_timeout_seconds=2.0) as client:
        client.post_batch(make_events(1))
        server.script(server.hang)

        with pytest.raises(ReadTimedOut):
            client.post_batch(make_events(1))

    wait_for(lambda: len(server.requests) >= 2)
    assert len(server.requests) == 2


def test_half_an_answer_is_none(server: Any, client: PulseStreamClient, make_events: MakeEvents) -> None:
    server.script(server.cut_short)

    with pytest.raises(Unreachable):
        client.post_batch(make_events(1))


def test_nobody_listens(make_events: MakeEvents, key: str) -> None:
    with (
        PulseStreamClient(f"http://127.0.0.1:{free_port()}", key) as client,
        pytest.raises(Unreachable, match="Connection refused"),
    ):
        client.post_batch(make_events(1))


def test_a_name_that_does_not_exist(make_events: MakeEvents, key: str) -> None:
    with PulseStreamClient("http://nowhere.invalid", key) as client, pytest.raises(Unreachable):
        client.post_batch(make_events(1))


def test_a_connection_is_kept(server: Any, client: PulseStreamClient, make_events: MakeEvents) -> None:
    for first in range(1, 5):
        client.post_batch(make_events(1, first))
    client.check()
    server.script(server.status(500, {"message": "no"}))
    with pytest.raises(ServerFailed):
        client.check()
    client.check()

    assert len({request.connection for request in server.requests}) == 1


@pytest.mark.parametrize(("idle", "connections"), [(3.9, 1), (4.1, 2)])
def test_a_connection_that_was_idle_for_long_is_not_used_again(
    server: Any, make_events: MakeEvents, key: str, idle: float, connections: int
) -> None:
    now = [1000.0]
    with PulseStreamClient(server.url, key, monotonic=lambda: now[0]) as client:
        client.post_batch(make_events(1))
        now[0] += idle
        client.post_batch(make_events(1))

    assert len({request.connection for request in server.requests}) == connections


@pytest.mark.parametrize("break_off", ["reset", "hang_up"])
def test_a_kept_connection_that_breaks_is_replaced_once(
    server: Any, client: PulseStreamClient, make_events: MakeEvents, break_off: str
) -> None:
    fault = getattr(server, break_off)
    client.post_batch(make_events(1))
    server.script(fault)

    assert fates(client.post_batch(make_events(1, 2))) == ["stored"]
    assert [request.connection for request in server.requests[:2]] == [server.requests[0].connection] * 2
    assert server.requests[2].connection != server.requests[1].connection

    server.script(fault, fault)
    with pytest.raises(Unreachable):
        client.post_batch(make_events(1, 3))
    assert len(server.requests) == 5

    # There is no kept connection now, and so no second try.
    server.script(fault)
    with pytest.raises(Unreachable):
        client.post_batch(make_events(1, 3))
    assert len(server.requests) == 6


@pytest.mark.parametrize("break_off", ["reset", "hang_up"])
def test_a_new_connection_that_breaks_is_a_failure(
    server: Any, client: PulseStreamClient, make_events: MakeEvents, break_off: str
) -> None:
    server.script(getattr(server, break_off))

    with pytest.raises(Unreachable):
        client.post_batch(make_events(1))

    assert len(server.requests) == 1


def test_a_late_reset_is_not_a_stale_connection(server: Any, make_events: MakeEvents, key: str) -> None:
    """The server was at work on the request, and may still be."""
    now = [1000.0]

    def late(handler: Any, request: Any) -> None:
        now[0] += 60
        server.reset(handler, request)

    with PulseStreamClient(server.url, key, monotonic=lambda: now[0]) as client:
        client.post_batch(make_events(1))
        server.script(late)
        with pytest.raises(Unreachable):
            client.post_batch(make_events(1))

    assert len(server.requests) == 2


def test_a_server_that_closes_without_a_word_costs_nothing(
    server: Any, client: PulseStreamClient, make_events: MakeEvents
) -> None:
    """As PulseStream does after an unhandled error, whose headers promise a kept connection."""
    server.script(server.then_hang_up(server.status(500, {"error": "INTERNAL_SERVER_ERROR"})))
    with pytest.raises(ServerFailed):
        client.post_batch(make_events(1))

    assert fates(client.post_batch(make_events(1))) == ["stored"]


def test_a_closed_client_may_be_used_again(client: PulseStreamClient, make_events: MakeEvents) -> None:
    client.post_batch(make_events(1))
    client.close()
    client.close()
    assert fates(client.post_batch(make_events(1))) == ["already_stored"]


@pytest.mark.parametrize("key", ["", "a\nb", "a\r\nX: b", "a\x00", " padded", "padded ", "tab\t", "\u20ac", "\x85"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PulseStreamClient("http://localhost", key)

    assert str(caught.value).startswith("pulsestream.key: ")
    assert not key.strip() or key.strip() not in str(caught.value).removeprefix("pulsestream.key: ")


def test_a_certificate_file_must_be_there(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pulsestream\.ca_file"):
        PulseStreamClient("https://localhost", key, ca_file=tmp_path / "absent.pem")


def echo(key: str) -> list[Any]:
    return [
        {"error": "HTTP_ERROR", "message": f"bad key {key}"},
        {"detail": [{"loc": ["header", key], "msg": key}]},
        f"<html>{key}</html>",
        [key, {"x": key}],
    ]


def test_the_key_shows_nowhere(server: Any, make_events: MakeEvents, key: str, log: list[str]) -> None:
    """Not in any error, repr or log line, whatever fails and whatever the server echoes."""
    client = PulseStreamClient(server.url, key, read_timeout_seconds=0.05)
    faults = [server.status(status, content) for status in (200, 400, 401, 403, 429, 500) for content in echo(key)]
    faults += [server.reset, server.hang_up, server.hang, server.cut_short]
    faults.append(server.status(302, "", Location=f"http://{quote(key, safe='')}.example/{key}"))
    told = [repr(client), str(client), repr(vars(client))]
    for fault in faults:
        server.script(fault)
        client.close()
        with pytest.raises(DeliveryError) as caught:
            client.post_batch(make_events(1))
        assert caught.value.__context__ is None
        logger.opt(exception=caught.value).error("failed")
        told += [str(caught.value), repr(caught.value), repr(vars(caught.value))]
    client.close()
    told += log

    assert len(log) == len(faults)
    escaped = json.dumps(key)[1:-1]
    for text in told:
        assert key not in text
        assert escaped not in text
        assert "k3y-that" not in text


def test_a_defect_below_does_not_show_the_key(
    client: PulseStreamClient, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch, key: str, log: list[str]
) -> None:
    """An exception that nobody foresaw is logged with the values of all variables, down to the prepared request."""

    def send(self: HTTPAdapter, request: Any, **arguments: Any) -> None:
        key = request.headers["X-API-Key"]
        raise RuntimeError(len(key))

    monkeypatch.setattr(HTTPAdapter, "send", send)
    with pytest.raises(RuntimeError) as caught:
        client.post_batch(make_events(1))
    logger.opt(exception=caught.value).error("failed")

    assert "(hidden)" in log[0]
    assert key.split(maxsplit=1)[0] not in log[0]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls_server: Callable[[str], Any], make_events: MakeEvents, key: str
) -> None:
    server, _ = tls_server("IP:127.0.0.1")
    with PulseStreamClient(server.url, key) as client, pytest.raises(Unreachable, match="certificate verify failed"):
        client.post_batch(make_events(1))
    assert not server.requests


def test_a_certificate_of_our_own_authority_is_accepted(
    tls_server: Callable[[str], Any], make_events: MakeEvents, key: str
) -> None:
    server, certificate = tls_server("IP:127.0.0.1")
    with PulseStreamClient(server.url, key, ca_file=certificate) as client:
        assert fates(client.post_batch(make_events(2))) == ["stored"] * 2


def test_a_certificate_for_another_host_is_refused(
    tls_server: Callable[[str], Any], make_events: MakeEvents, key: str
) -> None:
    server, certificate = tls_server("DNS:elsewhere.example")
    with (
        PulseStreamClient(server.url, key, ca_file=certificate) as client,
        pytest.raises(Unreachable, match="certificate verify failed"),
    ):
        client.post_batch(make_events(1))
    assert not server.requests
