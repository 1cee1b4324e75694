"""Messages to Advanced Trade that are signed with a key of Coinbase's."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.sync.server import ServerConnection

from rxbridge.coinbase import frames
from rxbridge.coinbase.signing import token_maker
from rxbridge.errors import ConfigError, MissingExtra
from tests.rxbridge.coinbase.servers import FeedServer, Impatient, Observed, advanced_acknowledgement, wait_for

NAME = "organizations/1/apiKeys/2"
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Write: TypeAlias = Callable[..., str]


def pem(key: PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def raw(key: ed25519.Ed25519PrivateKey) -> str:
    return base64.b64encode(key.private_bytes_raw() + key.public_key().public_bytes_raw()).decode()


@pytest.fixture
def key_file(tmp_path: Path) -> Write:
    def write(private_key: str, **fields: str) -> str:
        path = tmp_path / "key.json"
        path.write_text(json.dumps((fields or {"name": NAME}) | {"privateKey": private_key}), encoding="utf-8")
        return str(path)

    return write


EC_KEY = ec.generate_private_key(ec.SECP256R1())
EDWARDS_KEY = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("written", "key", "algorithm"),
    [
        (pem(EC_KEY), EC_KEY, "ES256"),
        (pem(EC_KEY, PrivateFormat.TraditionalOpenSSL), EC_KEY, "ES256"),
        (pem(EDWARDS_KEY), EDWARDS_KEY, "EdDSA"),
        (raw(EDWARDS_KEY), EDWARDS_KEY, "EdDSA"),
    ],
    ids=["P-256", "P-256 as OpenSSL writes it", "Ed25519", "Ed25519 in base64"],
)
def test_a_token_says_whose_it_is_and_until_when(
    key_file: Write, written: str, key: ec.EllipticCurvePrivateKey, algorithm: str
) -> None:
    before = int(time.time())
    token = token_maker(key_file(written))()
    after = int(time.time())

    claims = jwt.decode(token, key.public_key(), [algorithm], issuer="cdp")
    assert claims.keys() == {"sub", "iss", "nbf", "exp"}
    assert claims["sub"] == NAME
    assert before <= claims["nbf"] <= after
    assert claims["exp"] == claims["nbf"] + 120
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"], header["typ"]) == (algorithm, NAME, "JWT")


def test_every_token_is_another_one(key_file: Write) -> None:
    token = token_maker(key_file(raw(EDWARDS_KEY), id="an id"))
    tokens = [token() for _ in range(10)]
    assert len({jwt.get_unverified_header(one)["nonce"] for one in tokens}) == 10
    assert {jwt.get_unverified_header(one)["kid"] for one in tokens} == {"an id"}


OTHER = ed25519.Ed25519PrivateKey.generate()
MIXED = base64.b64encode(EDWARDS_KEY.private_bytes_raw() + OTHER.public_key().public_bytes_raw()).decode()


@pytest.mark.parametrize(
    "private_key",
    [
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 2048)),
        pem(EC_KEY)[:100],
        raw(EDWARDS_KEY)[:-4],
        MIXED,
        "no base64 at all",
        "",
    ],
    ids=["P-384", "RSA", "half a PEM", "too short", "two halves of two keys", "no base64", "nothing"],
)
def test_a_key_that_cannot_sign_is_refused_and_not_told(key_file: Write, private_key: str) -> None:
    with pytest.raises(ConfigError, match="neither of P-256 nor of Ed25519") as refused:
        token_maker(key_file(private_key))
    assert refused.value.setting == "key_file"
    assert refused.value.__context__ is None
    assert not private_key or private_key not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"name":"n"}', b'{"privateKey":"k"}', b'{"privateKey":7}'])
def test_a_file_that_is_none_of_coinbase_s_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no JSON object with name and privateKey") as refused:
        token_maker(str(path))
    assert refused.value.__context__ is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.json: No such file"):
        token_maker(str(tmp_path / "absent.json"))


@pytest.mark.parametrize("package", ["jwt", "cryptography.hazmat.primitives.asymmetric"])
def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, key_file: Write, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"pip install 'rxbridge\[key\]'"):
        token_maker(key_file(pem(EC_KEY)))


def test_the_exchange_takes_no_key(key_file: Write) -> None:
    with pytest.raises(ConfigError, match="key_file: the feed 'exchange' takes no key"):
        frames(["BTC-USD"], key_file=key_file(pem(EC_KEY)))


def test_each_message_has_a_token_of_its_own_and_nothing_tells_of_it(
    feed_server: Callable[..., FeedServer], watch: Callable[[Any], Observed], log: list[str], key_file: Write
) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        while True:
            server.subscribed(connection)
            connection.send(advanced_acknowledgement(*server.requests), text=True)

    server = feed_server(serve)
    signing: dict[str, Any] = {"feed": "advanced", "key_file": key_file(pem(EC_KEY)), "scheduler": Impatient()}
    watch(frames(["BTC-USD"], ["ticker", "trades"], url=server.url, **signing))
    wait_for(lambda: [line for line in log if "[OK]" in line])

    messages = [msgspec.json.decode(request) for request in server.requests]
    assert [message["channel"] for message in messages] == ["heartbeats", "ticker", "market_trades"]
    tokens = [message["jwt"] for message in messages]
    assert len(set(tokens)) == 3
    for token in tokens:
        assert jwt.decode(token, EC_KEY.public_key(), ["ES256"])["sub"] == NAME
        assert not [line for line in log if token in line]
