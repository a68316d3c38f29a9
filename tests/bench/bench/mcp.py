"""A tool call as an MCP client of revision 2026-07-28 sends it: one HTTP request, no handshake."""

import json

from . import http
from .http import Request

REVISION = "2026-07-28"
ECHO_TOOL = "echo"
ECHO_ARGUMENTS = {"message": "hello"}


def echo_call(endpoint: str, credential: dict[str, str] | None = None) -> Request:
    return tool_call(endpoint, ECHO_TOOL, ECHO_ARGUMENTS, credential)


def tool_call(
    endpoint: str,
    tool: str,
    arguments: dict,
    credential: dict[str, str] | None = None,
    meta: dict | None = None,
) -> Request:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": arguments,
            "_meta": {
                **(meta or {}),
                "io.modelcontextprotocol/protocolVersion": REVISION,
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1.0.0"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": REVISION,
        "mcp-method": "tools/call",
        "mcp-name": tool,
        **(credential or {}),
    }
    return http.Request(endpoint, headers, json.dumps(message))


def result_of(request: Request) -> dict:
    answer = request.send()
    if "result" not in answer:
        raise RuntimeError(f"{request.url} answered {json.dumps(answer)}")
    return answer["result"]
