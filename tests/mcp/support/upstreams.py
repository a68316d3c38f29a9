"""Real MCP servers as processes, one of each era."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.output import Output
from harness.paths import REPOSITORY

_UPSTREAMS = REPOSITORY / "tests" / "upstreams"
_DEADLINE_SECONDS = 30


@dataclass(frozen=True)
class Upstream:
    url: str
    output: Output


@contextmanager
def modern_server(host: str = "127.0.0.1") -> Iterator[Upstream]:
    """The revision 2026-07-28, stateless."""
    with _node(["modern-server.mjs"], HOST=host) as output:
        ready = output.line_starting_with("listening on ", _DEADLINE_SECONDS)
        assert ready, f"the modern server did not start:\n{output.text()}"
        yield Upstream(ready.removeprefix("listening on ").strip(), output)


@contextmanager
def handshake_server() -> Iterator[Upstream]:
    """The reference server of the handshake revisions, with sessions."""
    everything = "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    # It cannot choose a port itself, and another process may take the chosen one. Then another port is tried.
    for _ in range(5):
        port = free_port()
        with _node([everything, "streamableHttp"], PORT=str(port)) as output:
            if output.line_starting_with("MCP Streamable HTTP Server listening", _DEADLINE_SECONDS):
                yield Upstream(f"http://127.0.0.1:{port}/mcp", output)
                return
    raise AssertionError(f"the handshake server did not start:\n{output.text()}")


@contextmanager
def conformance_server() -> Iterator[Upstream]:
    """The conformance suite's server: each era at its own path."""
    with _node(["conformance-server.mjs"]) as output:
        ready = output.line_starting_with("listening on ", _DEADLINE_SECONDS)
        assert ready, f"the conformance server did not start:\n{output.text()}"
        yield Upstream(ready.removeprefix("listening on ").strip(), output)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def _node(arguments: list[str], **environment: str) -> Iterator[Output]:
    process = subprocess.Popen(
        ["node", *arguments],
        cwd=_UPSTREAMS,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output = Output()
    assert process.stdout and process.stderr
    output.follow(process.stdout)
    output.follow(process.stderr)
    try:
        yield output
    finally:
        process.kill()
        process.wait()
        output.finish()
