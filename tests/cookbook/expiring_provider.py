"""An OAuth-protected MCP server, with its authorization server, whose tokens expire at once for good.

It grants every request without asking, for one second, and never gives a refresh token. Both roles live
on one loopback port. Only what a client needs to connect is there: the metadata documents (RFC 9728,
RFC 8414), registration (RFC 7591), and the two OAuth endpoints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlencode, urlsplit

TOKEN_LIFETIME_SECONDS = 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/.well-known/oauth-protected-resource"):
            self._json({"resource": f"{self.base}/mcp", "authorization_servers": [self.base]})
        elif url.path == "/.well-known/oauth-authorization-server":
            self._json(self._metadata())
        elif url.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            answer = urlencode({"code": "the-code", "state": asked["state"], "iss": self.base})
            self._empty(302, ("location", f"{asked['redirect_uri']}?{answer}"))
        else:
            self._empty(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/register":
            self._json(json.loads(body) | {"client_id": "the-client"}, status=201)
        elif self.path == "/token":
            self._json(
                {"access_token": "soon-expired", "token_type": "Bearer", "expires_in": TOKEN_LIFETIME_SECONDS}
            )
        else:
            metadata = f"{self.base}/.well-known/oauth-protected-resource/mcp"
            self._empty(401, ("www-authenticate", f'Bearer resource_metadata="{metadata}"'))

    def _metadata(self) -> dict[str, object]:
        return {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "registration_endpoint": f"{self.base}/register",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _json(self, document: object, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _empty(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet: a test's output is the server's under test."""


@contextmanager
def expiring_provider() -> Iterator[str]:
    """Serves on a free port while the context lasts; gives the MCP endpoint's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
