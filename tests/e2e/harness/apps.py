"""An OAuth client that acts as its user, and its MCP requests: what an MCP client does, one request at a time."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import jwt

from harness.api import done
from harness.secrets_ledger import LEDGER
from harness.server import Server
from harness.waiting import wait_until

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TIMEOUT_SECONDS = 30
_REVISION = "2026-07-28"


def client_at(server: Server, address: str = "127.0.0.1") -> httpx.Client:
    """An HTTP client that sends from this address of the machine (any of 127.0.0.0/8)."""
    return httpx.Client(
        base_url=server.url,
        timeout=_TIMEOUT_SECONDS,
        transport=httpx.HTTPTransport(local_address=address, verify=False),
        event_hooks={"response": [LEDGER.observe]},
    )


@dataclass
class Asked:
    """An authorization request that the app's user was sent away with."""

    url: str
    state: str
    verifier: str


@dataclass
class App:
    """One installation of an app: it keeps the tokens of one sign-in."""

    server: Server
    client_id: str
    redirect_uri: str
    address: str = "127.0.0.1"
    secret: str | None = None
    key: Any = None
    """A private key, with which it signs assertions by `algorithm`, as `kid`."""
    algorithm: str = "RS256"
    kid: str = "one"
    tokens: dict[str, Any] = field(default_factory=dict)

    def _post(self, path: str, form: dict[str, str], address: str | None = None) -> httpx.Response:
        with client_at(self.server, address or self.address) as client:
            return client.post(path, data={"client_id": self.client_id} | self._proof() | form)

    def _proof(self) -> dict[str, str]:
        if self.secret is not None:
            return {"client_secret": self.secret}
        if self.key is None:
            return {}
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.server.url,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
        }
        assertion = jwt.encode(claims, self.key, self.algorithm, headers={"kid": self.kid})
        LEDGER.add("client_assertion", assertion)
        return {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}

    def ask(self, **parameters: str) -> Asked:
        """A new authorization request."""
        verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | parameters
        LEDGER.add("code_verifier", verifier)
        return Asked(f"{self.server.url}/api/v1/oauth/authorize?{urlencode(query)}", state, verifier)

    def redeem(self, asked: Asked, answer: str, **parameters: str) -> None:
        """Takes the browser's answer, checks it as RFC 9207 and RFC 6749 say, and gets the tokens."""
        assert answer.startswith(self.redirect_uri), answer
        got = dict(parse_qsl(urlsplit(answer).query))
        LEDGER.add("code", got["code"])
        assert got.keys() == {"code", "state", "iss"}, got
        assert (got["state"], got["iss"]) == (asked.state, self.server.url)
        form = {
            "grant_type": "authorization_code",
            "code": got["code"],
            "redirect_uri": self.redirect_uri,
            "code_verifier": asked.verifier,
        }
        self.tokens = done(self._post("/api/v1/oauth/token", form | parameters)).json()

    def try_refresh(self, token: str, *, address: str | None = None, **parameters: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token} | parameters
        return self._post("/api/v1/oauth/token", form, address)

    def refresh(self, **parameters: str) -> None:
        self.tokens = done(self.try_refresh(self.tokens["refresh_token"], **parameters)).json()

    def revoke(self) -> None:
        """The app forgets its user: RFC 7009."""
        done(self._post("/api/v1/oauth/revoke", {"token": self.tokens["refresh_token"]}))

    def call_tool(self, server_id: str, tool: str, **arguments: Any) -> httpx.Response:
        """As a client of MCP's revision 2026-07-28 that opens addresses."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": _REVISION,
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}, "url": {}}},
        }
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        headers = {
            "authorization": f"Bearer {self.tokens['access_token']}",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": _REVISION,
            "mcp-method": "tools/call",
            "mcp-name": tool,
        }
        with client_at(self.server, self.address) as client:
            return client.post(
                f"/api/v1/proxy/{server_id}/mcp",
                headers=headers,
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
            )


def register(server: Server, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Registers an app by itself (RFC 7591)."""
    with client_at(server) as client:
        answer = client.post("/api/v1/oauth/register", json=dict(metadata))
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return answer.json()


class Callback:
    """Where a program on this computer takes its user's browser back. `with Callback() as callback:` ends it."""

    def __init__(self, path: str = "/callback") -> None:
        self._path = path
        self._answers: list[str] = []
        callback = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                callback._answers.append(self.path)
                body = b"<!doctype html><p id=there>You can close this page."
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.uri = self._origin + path

    def answer(self) -> str:
        """The address by which the browser came back, once."""

        def found() -> str | None:
            return next((path for path in self._answers if path.startswith(f"{self._path}?")), None)

        path = wait_until("a browser comes back to the program", found)
        self._answers.remove(path)
        return self._origin + path

    def __enter__(self) -> Callback:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
