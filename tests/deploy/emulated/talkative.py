"""An MCP server that sends messages on its own: a stream for each session, which it never ends."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from emulated.private_address import private_address

NOTE = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


class Talkative:
    def __init__(self) -> None:
        self.asked_from: list[str | None] = []
        """The `Last-Event-ID` of each stream that was opened."""
        self.open = 0
        server = self

        class Handler(_Handler):
            at = server

        address = private_address()
        self._server = _Server((address, 0), Handler)
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self._server.server_address[1]}/mcp"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, *_: object) -> None:
        """The client has read enough."""


class _Handler(BaseHTTPRequestHandler):
    at: Talkative
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        match message.get("method"):
            case "initialize":
                result: dict[str, Any] = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": "talkative", "version": "1"},
                }
            case "tools/list":
                result = {"tools": []}
            case _ if "id" in message:
                error = {"code": -32601, "message": "Method not found"}
                return self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "error": error})
            case _:
                return self.answer(202, None)
        return self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def answer(self, status: int, body: Any) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Mcp-Session-Id", "a-session")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.at.asked_from.append(self.headers.get("last-event-id"))
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.at.open += 1
        try:
            for number in range(1000):
                self.wfile.write(f"id: {number}\ndata: {json.dumps(NOTE)}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.5)
        finally:
            self.at.open -= 1
            self.close_connection = True

    def do_DELETE(self) -> None:
        self.answer(200, None)
