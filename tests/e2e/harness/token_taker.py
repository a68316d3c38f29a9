"""An MCP server that a provider protects: it tells by which token it was called, and can refuse tokens."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class TokenTaker:
    """One such server. `with TokenTaker(issuer) as server:` ends it."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.taken: list[str] = []
        self.refused: set[str] = set()
        taker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

            def answer(self, status: int, body: Any, **headers: str) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self) -> None:
                if self.path == "/.well-known/oauth-protected-resource/mcp":
                    return self.answer(200, {"resource": taker.url, "authorization_servers": [taker.issuer]})
                return self.answer(404, {})

            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["content-length"])))
                token = self.headers.get("authorization", "").removeprefix("Bearer ")
                if not token or token in taker.refused:
                    named = f'Bearer resource_metadata="{taker.origin}/.well-known/oauth-protected-resource/mcp"'
                    return self.answer(401, {"error": "invalid_token"}, www_authenticate=named)
                return self.answer(*taker.result_of(message, token))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.origin}/mcp"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def result_of(self, message: dict[str, Any], token: str) -> tuple[int, dict[str, Any]]:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
        match message["method"]:
            case "initialize":
                about = {"name": "token-taker", "version": "1"}
                version = message["params"]["protocolVersion"]
                result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            case "tools/call":
                self.taken.append(token)
                result = {"content": [{"type": "text", "text": "taken"}]}
            case "notifications/initialized":
                return 202, {}
            case _:
                return 200, answer | {"error": {"code": -32601, "message": "Method not found"}}
        return 200, answer | {"result": result}

    def refuse_what_was_taken(self) -> None:
        self.refused.update(self.taken)

    def __enter__(self) -> TokenTaker:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
