"""CloudFront in front of the gateway, as the distribution in the template is configured.

It caches nothing (tests/infra checks the template's policy for that). It passes on all headers except `Host`, and adds its
own and the origin's. It runs the edge function on each answer of the origin (the real function, in Node), and passes an
answer on as it comes. A GET with a body gets a 403 in HTML
([request and response behavior](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html)).
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import threading
from collections.abc import Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from emulated.gateway import Gateway, edge_folder

# The headers that come with AllViewerExceptHostHeader, of about the same length (CloudFront Developer Guide,
# "Add CloudFront request headers").
_ADDED = {
    "cloudfront-forwarded-proto": "https",
    "cloudfront-is-android-viewer": "false",
    "cloudfront-is-desktop-viewer": "true",
    "cloudfront-is-ios-viewer": "false",
    "cloudfront-is-mobile-viewer": "false",
    "cloudfront-is-smarttv-viewer": "false",
    "cloudfront-is-tablet-viewer": "false",
    "cloudfront-viewer-asn": "64496",
    "cloudfront-viewer-city": "Frankfurt am Main",
    "cloudfront-viewer-country": "DE",
    "cloudfront-viewer-country-name": "Germany",
    "cloudfront-viewer-country-region": "HE",
    "cloudfront-viewer-country-region-name": "Hesse",
    "cloudfront-viewer-http-version": "2.0",
    "cloudfront-viewer-latitude": "50.11090",
    "cloudfront-viewer-longitude": "8.68210",
    "cloudfront-viewer-postal-code": "60311",
    "cloudfront-viewer-time-zone": "Europe/Berlin",
    "cloudfront-viewer-tls": "TLSv1.3:TLS_AES_128_GCM_SHA256:fullHandshake",
    "via": "2.0 0123456789abcdef0123456789abcdef.cloudfront.net (CloudFront)",
    "x-amz-cf-id": "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ==",
}
VIEWER = "198.51.100.10"
# Headers that no edge function sees.
_HIDDEN = ("connection", "keep-alive", "transfer-encoding", "x-amzn-requestid")

_NODE = """
import { createInterface } from "node:readline";
const { handler } = await import(process.argv[1]);
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await handler(JSON.parse(line))));
"""


class Edge:
    """The deployed edge function."""

    def __init__(self) -> None:
        node = shutil.which("node")
        assert node
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [node, "--input-type=module", "--eval", _NODE, (edge_folder() / "index.mjs").as_uri()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self, status: int, headers: list[tuple[str, str]]) -> tuple[int, list[tuple[str, str]]]:
        """The function's answer to the head of an answer, in CloudFront's format."""
        said: dict[str, list[dict[str, str]]] = {}
        for name, value in headers:
            if name.lower() not in _HIDDEN:
                said.setdefault(name.lower(), []).append({"key": name, "value": value})
        response = {"status": str(status), "statusDescription": "", "headers": said}
        event = {"Records": [{"cf": {"config": {"eventType": "origin-response"}, "request": {}, "response": response}}]}
        with self._lock:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps(event) + "\n")
            self._process.stdin.flush()
            made: dict[str, Any] = json.loads(self._process.stdout.readline())
        pairs = [(one.get("key", name), one["value"]) for name, of in made["headers"].items() for one in of]
        return int(made["status"]), pairs

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class CloudFront:
    """A distribution with its configuration, completed with values that only a deployment knows."""

    def __init__(self, config: Mapping[str, Any], gateway: Gateway, sent_along: Mapping[str, str]) -> None:
        [origin] = config["Origins"]
        self._prefix = origin["OriginPath"]
        self.gateway = gateway
        self.sent_along = dict(sent_along)
        self.edge = Edge() if "LambdaFunctionAssociations" in config["DefaultCacheBehavior"] else None
        front = self

        class Handler(_Handler):
            at = front

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self.edge:
            self.edge.stop()

    def path(self, path: str) -> str:
        return self._prefix + path


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """The client has disconnected."""


class _Handler(BaseHTTPRequestHandler):
    at: CloudFront
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if body and self.command in ("GET", "HEAD"):
            self.send_response_only(403)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        headers |= _ADDED | {"cloudfront-viewer-address": f"{VIEWER}:{self.client_address[1]}"} | self.at.sent_along
        # The origin is not told that a client has disconnected: reading goes on, and nothing is closed early.
        connection = http.client.HTTPConnection(self.at.gateway.host, timeout=120)
        with closing(connection):
            connection.request(self.command, self.at.path(self.path), body or None, headers)
            self.pass_on(connection.getresponse())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = handle_any  # noqa: N815

    def pass_on(self, response: http.client.HTTPResponse) -> None:
        status, headers = response.status, response.getheaders()
        if self.at.edge:
            status, headers = self.at.edge.answer(status, headers)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("X-Cache", "Error from cloudfront" if status >= 400 else "Miss from cloudfront")
        chunked = response.getheader("transfer-encoding") == "chunked"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while part := response.read1(65536):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n" if chunked else part)
            self.wfile.flush()
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
