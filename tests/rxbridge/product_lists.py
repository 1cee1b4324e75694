"""A REST API on loopback that has a list of products and nothing else."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


def listed(*online: str, halted: str = "", delisted: str = "") -> list[dict[str, Any]]:
    """Records as Coinbase's, as far as they matter."""
    states = [(name, "online", False) for name in online]
    states += [(name, "online", True) for name in halted.split()]
    states += [(name, "delisted", True) for name in delisted.split()]
    return [{"id": name, "status": status, "trading_disabled": disabled} for name, status, disabled in states]


class ListServer:
    """Answers `GET /products` with `products`, which may be set anew at any time, and all else with 404."""

    def __init__(self, products: list[dict[str, Any]], port: int = 0) -> None:
        self.products = products
        self.asked = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked += 1
                body = json.dumps(owner.products).encode()
                self.send_response(200 if self.path == "/products" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object, **__: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
