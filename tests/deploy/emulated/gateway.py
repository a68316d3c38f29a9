"""API Gateway by its documentation, in front of the emulator, which is kinder:

- It renames `WWW-Authenticate` and a few other headers of a function's answer
  ([important notes](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html)).
- It accepts 10,240 bytes for a request's line and headers, and waits 29 s for an answer that it does not stream
  ([quotas](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html)).
  The status for longer headers is not documented; here it is 431.
- It streams the answers that the template says. If a client disconnects, the function is not told: its stream goes on, and is
  counted and billed to its end ([response streaming](https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html)).
- Its own answers are as the template says.

The rest (paths, keys, invoking) is the emulator's. The functions that stream run here, behind a Runtime API, since the
emulator reads a function's answer as a whole. They have the variables that CloudFormation has set.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from harness.function import Function
from harness.runtime_api import Invocation

LIMIT_BYTES = 10_240
WAITS_SECONDS = 29
STREAMS_SECONDS = 900
RENAMED = ("www-authenticate", "connection", "date")
_PRELUDE_END = b"\0" * 8
_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding", "date", "server"}


@dataclass
class Executions:
    """The execution environments of a function that streams: one for each simultaneous invocation."""

    start: Callable[[], Function]
    billed: list[float] = field(default_factory=list)
    """Seconds, of each invocation that has ended."""
    _idle: list[Function] = field(default_factory=list)
    _busy: set[Function] = field(default_factory=set)
    _of_before: set[Function] = field(default_factory=set)
    _ended: list[Function] = field(default_factory=list)
    _changed: threading.Lock = field(default_factory=threading.Lock)

    def invoke(self, event: dict[str, Any]) -> Invocation:
        with self._changed:
            function = self._idle.pop() if self._idle else self.start()
            self._busy.add(function)
        invocation = function.invoke(event, STREAMS_SECONDS)
        threading.Thread(target=self._wait, args=(function, invocation), daemon=True).start()
        return invocation

    def _wait(self, function: Function, invocation: Invocation) -> None:
        """The caller may have disconnected. Only the function's end counts."""
        for _ in invocation.parts():
            pass
        with self._changed:
            self.billed.append(invocation.ended - invocation.handed_out)
            self._busy.discard(function)
            is_of_before = function in self._of_before
            (self._ended if is_of_before else self._idle).append(function)
        if is_of_before:
            function.close()

    def at_once(self) -> int:
        return len(self._busy)

    def output(self) -> str:
        return "\n".join(function.output.text() for function in [*self._idle, *self._busy, *self._ended])

    def restart(self) -> None:
        """New processes for later requests, as after a change of the configuration. Present requests go on."""
        with self._changed:
            ended, self._idle = self._idle, []
            self._ended += ended
            self._of_before |= self._busy
        for function in ended:
            function.close()

    def close(self) -> None:
        for function in [*self._idle, *self._busy]:
            function.close()


class Gateway:
    """`url` is the API's stage. `streamed` are the paths with streaming integrations. `own` are the gateway's own
    answers."""

    def __init__(self, emulated: str, body: Mapping[str, Any], proxy: Executions) -> None:
        self._emulated = urlsplit(emulated)
        self._own = body["x-amazon-apigateway-gateway-responses"]
        self._keys: set[str] = set()
        self.proxy = proxy
        gateway = self

        class Handler(_Handler):
            at = gateway

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}/live"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def asks_for(self, keys: set[str]) -> None:
        """Requests without one of these keys are refused: by the emulator, and here for streamed paths."""
        self._keys = keys

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.proxy.close()

    def own(self, kind: str, status: int, message: str) -> tuple[int, dict[str, str], bytes]:
        """One of the gateway's own answers, by the definition's templates."""
        default = "DEFAULT_5XX" if status >= 500 else "DEFAULT_4XX"
        of = self._own.get(kind) or self._own[default]
        text = of["responseTemplates"]["application/json"].replace("$context.error.messageString", json.dumps(message))
        headers = {"content-type": "application/json"}
        for name, value in of["responseParameters"].items():
            said = str(uuid.uuid4()) if value == "context.requestId" else value.strip("'")
            headers[name.removeprefix("gatewayresponse.header.")] = said
        return status, headers, text.encode()

    def forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Sends the request to the emulator, and returns its answer."""
        connection = http.client.HTTPConnection(self._emulated.netloc, timeout=WAITS_SECONDS)
        with closing(connection):
            connection.request(method, self._emulated.path + path.removeprefix("/live"), body, dict(headers))
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()

    def event(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The event of a REST API (payload format 1.0)."""
        parts = urlsplit(path.removeprefix("/live"))
        query = parse_qsl(parts.query, keep_blank_values=True)
        return {
            "resource": "/api/v1/proxy/{path+}",
            "path": parts.path,
            "httpMethod": method,
            "headers": dict(headers),
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": dict(query) or None,
            "multiValueQueryStringParameters": {name: [of for key, of in query if key == name] for name, _ in query} or None,
            "requestContext": {
                "stage": "live",
                "identity": {"sourceIp": "127.0.0.1", "apiKey": headers.get("x-api-key") if self._keys else None},
                "httpMethod": method,
            },
            "body": body.decode() or None,
            "isBase64Encoded": False,
        }

    def is_streamed(self, path: str) -> bool:
        return path.removeprefix("/live").startswith("/api/v1/proxy")

    def is_let_in(self, headers: Mapping[str, str]) -> bool:
        return not self._keys or headers.get("x-api-key") in self._keys


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """The client has disconnected."""


class _Handler(BaseHTTPRequestHandler):
    at: Gateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        size = len(self.requestline) + 2 + sum(len(name) + len(value) + 4 for name, value in self.headers.items())
        if size > LIMIT_BYTES:
            return self.answer(*self.at.own("DEFAULT_4XX", 431, "Request Header Fields Too Large"))
        if self.at.is_streamed(self.path):
            if not self.at.is_let_in(headers):
                return self.answer(*self.at.own("INVALID_API_KEY", 403, "Forbidden"))
            return self.stream(self.at.proxy.invoke(self.at.event(self.command, self.path, headers, body)))
        try:
            status, answered, content = self.at.forward(self.command, self.path, headers, body)
        except TimeoutError:
            return self.answer(*self.at.own("INTEGRATION_TIMEOUT", 504, "Endpoint request timed out"))
        if status == 403 and b'"message"' in content and not self.at.is_let_in(headers):
            return self.answer(*self.at.own("INVALID_API_KEY", 403, "Forbidden"))
        return self.answer(status, self.renamed(answered), content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = handle_any  # noqa: N815

    def renamed(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [
            (f"x-amzn-Remapped-{name}" if name.lower() in RENAMED else name, value)
            for name, value in headers
            if name.lower() in RENAMED[:1] or name.lower() not in _HOP_BY_HOP
        ]

    def answer(self, status: int, headers: dict[str, str] | list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items() if isinstance(headers, dict) else headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def stream(self, invocation: Invocation) -> None:
        """Sends the answer as it comes. If the client disconnects, the function is not told."""
        parts = (part for _, part in invocation.parts())
        head = b""
        for part in parts:
            head += part
            if _PRELUDE_END in head:
                break
        prelude, _, first = head.partition(_PRELUDE_END)
        if not prelude or invocation.error:
            return self.answer(*self.at.own("DEFAULT_5XX", 502, "Internal server error"))
        said = json.loads(prelude)
        self.send_response_only(said["statusCode"])
        headers = [*said.get("headers", {}).items(), *(("Set-Cookie", cookie) for cookie in said.get("cookies", ()))]
        for name, value in self.renamed(headers):
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in _and_then(first, parts):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        return None


def _and_then(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from (part for part in (first, *()) if part)
    yield from (part for part in rest if part)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.05)


def edge_folder() -> Path:
    return Path(__file__).resolve().parents[3] / "infra" / "edge"
