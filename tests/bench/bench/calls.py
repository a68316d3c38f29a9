"""What a proxy adds to a tool call: ours and FastMCP's, in front of the same MCP server."""

from contextlib import ExitStack

from . import load, mcp, processes
from .deputize import Deputize, expect_echo
from .load import Load, Measured
from .plan import Plan
from .report import MISSING, Row, milliseconds, percentiles

DIRECT = "direct"
FASTMCP = "FastMCP proxy"
FASTMCP_REUSE = "FastMCP proxy on one reused session"
MCP = "M2M call over /mcp"
OURS = ["M2M call", "OBO call", "user-key call", MCP]

TARGET_ADDED_MS = 1.0
TARGET_SHARE = 0.1

# Busy connections pause about this long between calls. Otherwise the upstream would be saturated, and its
# queue would hide what a proxy adds to a call.
THINK_MS = 10
SHAPES = {"one at a time": Load(0, 1), "4 connections": Load(0, 4, THINK_MS)}


def measure(server: Deputize | None, upstream_url: str, plan: Plan) -> tuple[list[Row], dict]:
    with ExitStack() as stack:
        fastmcp, fastmcp_url = stack.enter_context(processes.fastmcp_proxy(upstream_url))
        _, reuse_url = stack.enter_context(processes.fastmcp_proxy(upstream_url, reuse=True))
        requests = {
            DIRECT: mcp.echo_call(upstream_url),
            FASTMCP: mcp.echo_call(fastmcp_url),
            FASTMCP_REUSE: mcp.echo_call(reuse_url),
        }
        for request in requests.values():
            expect_echo(mcp.result_of(request))
        if server:
            requests |= _our_requests(server, upstream_url)
        for request in requests.values():
            load.run(request, Load(plan.warm_up_seconds, 4, THINK_MS))

        rows, measured = [], {}
        for name, shape in SHAPES.items():
            timed = Load(plan.call_seconds, shape.connections, shape.think_ms)
            measured[name] = load.interleaved(requests, timed, plan.repetitions)
            rows += _rows(name, measured[name])
        return rows, {**measured, "fastmcp_resident_mib": fastmcp.resident_mib()}


def _our_requests(server: Deputize, upstream_url: str) -> dict:
    server_id = server.register(upstream_url)
    credentials = [server.as_agent(), server.on_behalf_of_alice(), server.with_api_key()]
    requests = {
        name: server.call_echo(server_id, each) for name, each in zip(OURS[:3], credentials, strict=True)
    }
    for request in requests.values():
        expect_echo(request.send())
    requests[MCP] = mcp.echo_call(server.mcp_url(server_id), server.as_agent())
    expect_echo(mcp.result_of(requests[MCP]))
    return requests


def _rows(shape: str, measured: dict[str, Measured]) -> list[Row]:
    direct, fastmcp, reuse = measured[DIRECT], measured[FASTMCP], measured[FASTMCP_REUSE]
    peer_adds = _added(fastmcp, direct)
    rows = []
    for name in OURS:
        what = f"Added by the proxy, {name}, {shape}"
        beside = f"{FASTMCP} adds {_added_text(fastmcp, direct)}"
        if name not in measured:
            rows.append(Row(what, MISSING, beside))
            continue
        adds = _added(measured[name], direct)
        share = adds / peer_adds
        rows.append(
            Row(
                what,
                f"{_added_text(measured[name], direct)} (through it {percentiles(measured[name])})",
                beside,
                f"1/{1 / share:.0f}" if share > 0 else "adds nothing",
                "p50 < 1 ms and ≤ 1/10",
                adds < TARGET_ADDED_MS and share <= TARGET_SHARE,
            )
        )
    rows.append(
        Row(
            f"For comparison, {shape}",
            f"direct call {percentiles(direct)}",
            f"{FASTMCP} {percentiles(fastmcp)}; {FASTMCP_REUSE} adds {_added_text(reuse, direct)}",
        )
    )
    return rows


def _added(through: Measured, direct: Measured, figure: str = "p50_ms") -> float:
    return through.median(figure) - direct.median(figure)


def _added_text(through: Measured, direct: Measured) -> str:
    p50, p99 = _added(through, direct), _added(through, direct, "p99_ms")
    return f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"
