import pytest

from rxbridge.errors import ConfigError
from rxbridge.pulsestream.address import parse_address


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "/",
        "/api/v1",
        "/api/v1/ingestion",
        "/api/v1/ingestion/events",
        "/api/v1/ingestion/events/",
        "/api/v1/ingestion/events/batch",
    ],
)
@pytest.mark.parametrize("base", ["http://localhost:8000", "https://[::1]:8443", "https://example.org/behind/a/proxy"])
def test_every_way_to_write_the_address_means_the_same(base: str, ending: str) -> None:
    address = parse_address(f" {base}{ending}\n")

    assert address.base == base
    assert address.batch == f"{base}/api/v1/ingestion/events/batch"
    assert address.search == f"{base}/api/v1/ingestion/events/search"
    assert address.rate_limit == f"{base}/api/v1/ingestion/rate-limit"
    assert address.health == f"{base}/health"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://localhost",
        "http://",
        "http://:8000",
        "http://host:port",
        "http://host:99999",
        "http://host:0",
        "http://[::1",
        "http://ho st/",
        "http://host/\n/x",
        "http://host/\x1b[2J",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)

    assert str(caught.value).startswith("pulsestream.url: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:SECRET@host/",
        "http://SECRET@host/api/v1/ingestion/events",
        "http://host/api/v1/ingestion/events?api_key=SECRET",
        "http://host/?SECRET",
        "http://host/#SECRET",
        "http://SECRET:SECRET@host:SECRET/",
    ],
)
def test_credentials_in_the_address_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)

    assert "SECRET" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
