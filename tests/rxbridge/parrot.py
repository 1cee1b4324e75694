"""A server that says the key back, in every part of an answer and in every way to write it."""

from __future__ import annotations

import base64
import html
import json
import re
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from types import TracebackType
from typing import Self
from urllib.parse import quote

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "percent": lambda key: quote(key, safe=""),
    "percent-lower": lambda key: quote(key, safe="").lower(),
    "json": lambda key: json.dumps(key)[1:-1],
    "escaped": lambda key: "".join(f"\\u{ord(character):04x}" for character in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "basic": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "hex": lambda key: key.encode().hex(),
    "html": html.escape,
    "repr": lambda key: repr(key)[1:-1],
    "many": lambda key: key * 40,
    "cut": lambda key: "x" * 380 + key,
    "cut-percent": lambda key: "x" * 395 + quote(key, safe=""),
}


def traces(key: str) -> set[str]:
    """What must be in no output, in lower case: the written forms of a key, and their beginnings."""
    written = {form(key).lower() for name, form in FORMS.items() if not name.startswith(("cut", "many", "basic"))}
    inner = base64.b64encode(f"user:{key}".encode()).decode()[8:-8].lower()
    return {text[:12] for text in written} | written | {inner}


def _answer(head: str, body: str = "", *headers: str) -> bytes:
    content = body.encode("utf-8", "replace")
    lines = [f"HTTP/1.1 {head}", *headers, f"Content-Length: {len(content)}", "Connection: close"]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + content


def answers(said: str) -> list[bytes]:
    """One after the other, all the places of an answer in which something can be said."""
    told = json.dumps(said)
    result = f'{{"success":false,"event_id":{told},"message":{told},"errors":[{told},{told}]}}'
    batch = f'{{"total_events":1,"successful_events":0,"failed_events":1,"results":[{result}]}}'
    return [
        _answer(f"401 {said}", f'{{"error":"HTTP_ERROR","message":{told},"status_code":401}}'),
        _answer("401 Unauthorized", f'{{"detail":{told}}}', f"WWW-Authenticate: {said}", f"Set-Cookie: key={said}"),
        _answer(f"500 {said}", said, f"X-Echo: {said}", f"{said}: x"),
        _answer("500 Internal Server Error", f'{{"detail":[{{"loc":["body",{told}],"msg":{told}}}]}}'),
        _answer("502 Bad Gateway", f"<html>{said}</html>", "Content-Type: text/html"),
        _answer("302 Found", "", f"Location: http://elsewhere.example/{said}?key={said}"),
        _answer("307 Temporary Redirect", "", f"Location: http://{said}@elsewhere.example/"),
        _answer("308 Permanent Redirect", "", f"Location: //[{said}"),
        _answer("429 Too Many Requests", f'{{"message":{told}}}', f"Retry-After: {said}", f"Date: {said}"),
        _answer("400 Bad Request", f'{{"message":{{"message":"Event ingestion failed","errors":[{told}]}}}}'),
        _answer("413 Content Too Large", said),
        _answer("200 OK", said),
        _answer("200 OK", batch),
        _answer("200 OK", f'{{"total_events":{told}}}'),
        _answer("200 OK", f'{{"status":{told},"limit":{told}}}'),
        _answer("200 OK", "{}", f"Content-Encoding: {said}"),
        f"HTTP/1.1 {said} {said}\r\n\r\n".encode("latin-1", "replace"),
        f"{said}\r\n\r\n".encode("latin-1", "replace"),
        f"HTTP/1.1 200 OK\r\n{said}\r\nno colon {said}\r\n\r\n".encode("latin-1", "replace"),
        f"HTTP/1.1 200 OK\r\nContent-Length: {said}\r\n\r\n".encode("latin-1", "replace"),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{said}\r\n".encode("latin-1", "replace"),
        f"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{said}".encode("latin-1", "replace"),
        f"HTTP/1.1 200 OK\r\nX: {'x' * 66_000}{said}\r\n\r\n".encode("latin-1", "replace"),
        b"HTTP/1.1 200 OK\r\n" + b"".join(f"X: {said}\r\n".encode("latin-1", "replace") for _ in range(120)),
    ]


class Parrot:
    """Answers the n-th request with the n-th of the answers, made of the key that came with it; then again from one on.

    Attributes:
        answered: How many requests were answered.
        keys: The keys that came.
    """

    def __init__(self, forms: Sequence[str] = tuple(FORMS), answers: Callable[[str], list[bytes]] = answers) -> None:
        self.answered = 0
        self.keys: set[str] = set()
        self._forms = forms
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="parrot")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    @property
    def rounds(self) -> int:
        """How often everything was said in every form."""
        return self.answered // (len(self._answers("")) * len(self._forms))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with closing(connection), suppress(OSError):
                connection.settimeout(10)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65_536)
            if not piece:
                return
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        missing = (int(length[1]) if length else 0) - len(body)
        while missing > 0:
            missing -= len(connection.recv(65_536))
        found = re.search(rb"(?i)x-api-key: ([^\r]*)", head)
        key = found[1].decode("latin-1") if found else ""
        self.keys.add(key)
        form, place = divmod(self.answered, len(self._answers("")))
        connection.sendall(self._answers(FORMS[self._forms[form % len(self._forms)]](key))[place])
        self.answered += 1
