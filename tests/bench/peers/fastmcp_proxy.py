"""The proxy peer: fastmcp.server.create_proxy in front of the MCP server whose URL is the argument.

`--reuse` hands it one connected client for all requests, which FastMCP offers but advises against for
several callers; without it FastMCP opens a session for each request, its default.
"""

import asyncio
import socket
import sys

import uvicorn
from fastmcp import Client
from fastmcp.server import create_proxy


async def serve(target) -> None:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol. Without it, every answer would wait
    # 40 ms for a delayed acknowledgement. That would be this file's fault, not FastMCP's.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    app = create_proxy(target, name="bench-proxy").http_app(path="/mcp", stateless_http=True)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    await uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).serve(sockets=[listener])


async def main(upstream: str, reuse: bool) -> None:
    if not reuse:
        await serve(upstream)
        return
    async with Client(upstream) as client:
        await serve(client)


asyncio.run(main(sys.argv[1], "--reuse" in sys.argv))
