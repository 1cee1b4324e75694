"""What ended a connection, in plain words and as one of rxbridge's errors."""

from __future__ import annotations

import os
import socket
import ssl

import websocket

from rxbridge.coinbase.framing import FrameTooLargeError
from rxbridge.coinbase.transport import DeadlineExceededError, ProxyRefusedError
from rxbridge.errors import ConnectionLost, quoted

CAUSES = (OSError, websocket.WebSocketException, FrameTooLargeError, ProxyRefusedError, DeadlineExceededError)
"""Whatever opening, reading or writing a connection can raise."""


def not_opened(url: str, cause: Exception) -> ConnectionLost:
    """The error for a connection that could not be opened."""
    return ConnectionLost(url, _words(cause))


def broken(url: str, cause: Exception) -> ConnectionLost:
    """The error for an open connection that broke, with the close code that RFC 6455, section 7.4.1, has for it."""
    return ConnectionLost(url, _words(cause), _code(cause))


def closed(url: str, payload: bytes) -> ConnectionLost:
    """The error for a connection that the server closed properly, which is no less a reason to reconnect."""
    code = int.from_bytes(payload[:2], "big") if payload else websocket.STATUS_STATUS_NOT_AVAILABLE
    reason = f", saying {quoted(payload[2:])}" if payload[2:] else ""
    return ConnectionLost(url, f"the server closed it{reason}", code)


def _code(cause: Exception) -> int:
    match cause:
        case FrameTooLargeError():
            return websocket.STATUS_MESSAGE_TOO_BIG
        case websocket.WebSocketProtocolException():
            return websocket.STATUS_PROTOCOL_ERROR
        case _:
            return websocket.STATUS_ABNORMAL_CLOSED


def _words(cause: Exception) -> str:
    words: str
    match cause:
        case ssl.SSLCertVerificationError():
            words = f"the server's certificate is not valid: {quoted(str(cause.verify_message))}"
        case ssl.SSLError():
            words = f"TLS failed: {quoted(cause.reason or str(cause))}"
        case socket.gaierror():
            words = f"its name cannot be resolved: {cause.strerror}"
        case DeadlineExceededError() | TimeoutError() | websocket.WebSocketTimeoutException():
            words = "no answer in time"
        case OSError():
            words = os.strerror(cause.errno) if cause.errno else str(cause)
        case websocket.WebSocketBadStatusException():
            answer = quoted(f"{cause.status_code} {cause.status_message or ''}".strip())
            body = f": {quoted(cause.resp_body)}" if cause.resp_body else ""
            words = f"the server refused the WebSocket with HTTP {answer}{body}"
        case websocket.WebSocketConnectionClosedException():
            words = "it ended without a word"
        case ProxyRefusedError():
            words = f"the proxy refused it: {cause}"
        case FrameTooLargeError():
            words = str(cause)
        case _:
            words = f"the server broke the WebSocket protocol: {quoted(str(cause))}"
    return words
