"""How long an event of a stream takes, from the server's sending it to the client's reading it."""

import json
import time
import urllib.request
from statistics import median

from . import mcp
from .deputize import Deputize
from .http import Request
from .plan import Plan
from .report import Row, milliseconds

STEPS = 25
TARGET_MS = 5.0

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def measure(server: Deputize, upstream_url: str, plan: Plan) -> tuple[list[Row], dict]:
    server_id = server.register(upstream_url)
    through_us = _ticking(server.mcp_url(server_id), server.as_agent())
    direct = _ticking(upstream_url)
    for request in (direct, through_us):
        _delays(request)  # connections, policies and the server's era are there from now on
    delays = {"direct": [], "through": []}
    for _ in range(plan.repetitions):
        delays["direct"] += _delays(direct)
        delays["through"] += _delays(through_us)
    added = median(delays["through"]) - median(delays["direct"])
    row = Row(
        "An event of a stream over /mcp, from its sending to its reading",
        f"p50 {milliseconds(median(delays['through']))}, p99 {milliseconds(_p99(delays['through']))}",
        f"direct p50 {milliseconds(median(delays['direct']))}, p99 {milliseconds(_p99(delays['direct']))}",
        f"adds {milliseconds(added)}",
        "adds < 5 ms",
        added < TARGET_MS,
    )
    return [row], delays


def _ticking(endpoint: str, credential: dict[str, str] | None = None) -> Request:
    return mcp.tool_call(endpoint, "tick", {"steps": STEPS}, credential, {"progressToken": "t"})


def _delays(request: Request) -> list[float]:
    """Milliseconds for each event, read as it comes."""
    sent = urllib.request.Request(
        request.url, method="POST", headers=request.headers, data=request.body.encode()
    )
    delays = []
    with _opener.open(sent, timeout=30) as answer:
        for line in iter(answer.readline, b""):
            now = time.time() * 1000
            if line.startswith(b"data:") and line[5:].strip():
                message = json.loads(line[5:])
                if message.get("method") == "notifications/progress":
                    delays.append(now - float(message["params"]["message"]))
    if len(delays) != STEPS:
        raise RuntimeError(f"{request.url} sent {len(delays)} of {STEPS} events")
    return delays


def _p99(values: list[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.99) - 1)]
