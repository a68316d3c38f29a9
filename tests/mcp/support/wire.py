"""MCP as bytes over HTTP: for requests that no real client sends, and to see when each byte comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

MODERN_VERSION = "2026-07-28"
HANDSHAKE_VERSION = "2025-11-25"
_ACCEPT = {"accept": "application/json, text/event-stream"}
_TIMEOUT = httpx.Timeout(30)


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str | None
    data: str

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.data)


def events(response: httpx.Response) -> Iterator[Event]:
    """The events of a stream as they come. An event without data only marks a position to resume from."""
    event_id, data, fresh = None, [], False
    for line in response.iter_lines():
        if line.startswith("id:"):
            event_id, fresh = line.removeprefix("id:").strip(), True
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").strip())
            fresh = True
        elif not line and fresh:
            yield Event(event_id, "\n".join(data))
            event_id, data, fresh = None, [], False


def messages(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The messages of a response, which is JSON or a stream."""
    if response.headers["content-type"].startswith("text/event-stream"):
        yield from (event.message for event in events(response) if event.data)
    else:
        response.read()
        yield response.json()


def answer(response: httpx.Response) -> dict[str, Any]:
    """The response to the request, after all earlier messages."""
    for message in messages(response):
        if "method" not in message:
            return message
    raise AssertionError("the stream ended without a response")


@contextmanager
def modern_request(
    url: str, token: str, method: str, params: dict[str, Any] | None = None, **meta: Any
) -> Iterator[httpx.Response]:
    """A request of the revision 2026-07-28, whose response streams."""
    params = params or {}
    headers = _ACCEPT | {"mcp-protocol-version": MODERN_VERSION, "mcp-method": method}
    if named := params.get("name") or params.get("uri"):
        headers["mcp-name"] = named
    whole = {
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    } | meta
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": whole}}
    with (
        httpx.Client(headers=_bearer(token) | headers, timeout=_TIMEOUT, verify=False) as client,
        client.stream("POST", url, json=body) as response,
    ):
        yield response


@dataclass
class HandshakeSession:
    """A session of a handshake client."""

    url: str
    token: str
    id: str | None = None
    version: str = HANDSHAKE_VERSION
    _last_id: int = field(default=0, repr=False)

    @classmethod
    def begin(cls, url: str, token: str, capabilities: dict[str, Any] | None = None) -> HandshakeSession:
        session = cls(url, token)
        params = {
            "protocolVersion": session.version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "wire", "version": "1"},
        }
        with session.request("initialize", params) as response:
            assert response.status_code == httpx.codes.OK, response.read()
            assert answer(response)["result"]["protocolVersion"] == session.version
            session.id = response.headers["mcp-session-id"]
        assert session.tell("notifications/initialized").status_code == httpx.codes.ACCEPTED
        return session

    @contextmanager
    def request(self, method: str, params: dict[str, Any] | None = None) -> Iterator[httpx.Response]:
        self._last_id += 1
        body = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        with self._client() as client, client.stream("POST", self.url, json=body) as response:
            yield response

    def call(self, tool: str, **arguments: Any) -> httpx.Response:
        """The whole response to a call."""
        with self.request("tools/call", {"name": tool, "arguments": arguments}) as response:
            response.read()
            return response

    def tell(self, method: str) -> httpx.Response:
        with self._client() as client:
            return client.post(self.url, json={"jsonrpc": "2.0", "method": method})

    def respond(self, request_id: Any, result: dict[str, Any]) -> httpx.Response:
        """Answers a request of the server."""
        with self._client() as client:
            return client.post(self.url, json={"jsonrpc": "2.0", "id": request_id, "result": result})

    @contextmanager
    def listen(self, last_event_id: str | None = None) -> Iterator[httpx.Response]:
        """The server's own messages. After an event: the rest of the stream of that event."""
        headers = {} if last_event_id is None else {"last-event-id": last_event_id}
        with self._client() as client, client.stream("GET", self.url, headers=headers) as response:
            yield response

    def end(self) -> httpx.Response:
        with self._client() as client:
            return client.delete(self.url)

    def _client(self) -> httpx.Client:
        headers = _bearer(self.token) | _ACCEPT
        if self.id is not None:
            headers |= {"mcp-session-id": self.id, "mcp-protocol-version": self.version}
        return httpx.Client(headers=headers, timeout=_TIMEOUT, verify=False)


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
