"""An address in front of another one, for a function's connection to AWS. Requests can be inspected and passed on."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Headers = dict[str, str]
Answer = tuple[int, Headers, bytes]

_LOOPBACK = "127.0.0.1"


class Relay:
    """`answer` answers each POST, and may `forward` it. With a certificate and its key, the relay speaks TLS."""

    def __init__(
        self, upstream: str, answer: Callable[[Headers, bytes], Answer], certificate: Path | None = None
    ) -> None:
        self._upstream = upstream
        self.connections = 0
        """That came to be: over TLS, those whose client believed the certificate."""
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                relay.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers, answered = answer(dict(self.headers.items()), body)
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answered)))
                self.end_headers()
                self.wfile.write(answered)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((_LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate:
            scheme = "https"
            self._server.socket = _tls(self._server.socket, certificate)
        self.url = f"{scheme}://{_LOOPBACK}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forward(self, headers: Headers, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self._upstream).netloc, timeout=30)
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            answer = response.read()
            hop = ("content-length", "transfer-encoding", "connection", "keep-alive")
            return response.status, {k: v for k, v in response.getheaders() if k.lower() not in hop}, answer
        finally:
            connection.close()


def _tls(listener: socket.socket, certificate: Path) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context.wrap_socket(listener, server_side=True)


def target(headers: Headers) -> str:
    """For example `DynamoDB_20120810.Query`."""
    return next(value for name, value in headers.items() if name.lower() == "x-amz-target")
