"""The npm package: its size, the time to its first call, and what it adds to a call over bare `fetch`."""

import json
import socket
import subprocess
from pathlib import Path
from statistics import median

from . import deputize, setup
from .cores import LOAD_CORE, pinned
from .deputize import Deputize
from .mcp import ECHO_ARGUMENTS, ECHO_TOOL
from .paths import HERE, NODE, OUTPUT, ROOT
from .plan import Plan
from .report import MISSING, Row, milliseconds, times

PACKAGE = ROOT / "wasm-client" / "pkg"
MEASURE = HERE / "client" / "measure.mjs"
WITHIN_SECONDS = 600

TARGET_KB = 60
TARGET_ADDED_MS = 0.2
PEER = "MCP client + oauth4webapi"


def measure(binary: Path, upstream_url: str, plan: Plan) -> tuple[list[Row], dict]:
    if not (PACKAGE / "package.json").exists():
        return [Row("npm package", f"{MISSING}: run wasm-client/build first")], {}
    port = _free_port()
    allowed = {"DEPUTIZE_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}"}
    with deputize.started(binary, "deputize-client", environment=allowed) as server:
        figures = _figures(server, upstream_url, port, plan)
    return [_size(figures["size"]), *_first_calls(figures["first"]), *_added(figures["perCall"])], figures


def _figures(server: Deputize, upstream_url: str, port: int, plan: Plan) -> dict:
    asked = {
        "job": {
            "url": server.url,
            "clientId": server.env["CLIENT_ID"],
            "clientSecret": server.env["CLIENT_SECRET"],
            "email": server.env["DEMO_EMAIL"],
            "server": server.register(upstream_url),
        },
        "tool": ECHO_TOOL,
        "args": ECHO_ARGUMENTS,
        "rounds": plan.first_calls,
        "calls": plan.client_calls,
        "port": port,
        "pkg": str(PACKAGE),
        "output": str(OUTPUT / "client"),
        "chromium": setup.chromium(),
    }
    done = subprocess.run(
        pinned(LOAD_CORE, [NODE, MEASURE]),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=WITHIN_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{MEASURE.name}: {done.stderr[-800:]}")
    return json.loads(done.stdout)


def _size(size: dict[str, int]) -> Row:
    kb = {name: count / 1000 for name, count in size.items()}
    return Row(
        "npm package in a page: WebAssembly + glue, brotli",
        f"{kb['shipped']:.1f} KB as it ships ({kb['deputize']:.1f} KB bundled)",
        f"{PEER}, bundled and minified: {kb['mcp']:.1f} KB",
        times(kb["shipped"] / kb["mcp"]),
        f"≤ {TARGET_KB} KB",
        kb["shipped"] <= TARGET_KB,
    )


def _first_calls(first: dict[str, dict[str, list[float]]]) -> list[Row]:
    return [
        Row(
            f"npm package in {runtime}: from loading it to its first call's result, with a new token",
            _median_and_range(took["deputize"]),
            f"{PEER}: {_median_and_range(took['mcp'])}; bare fetch: {_median_and_range(took['fetch'])}",
            f"{times(median(took['deputize']) / median(took['mcp']))}; {times(median(took['deputize']) / median(took['fetch']))} of bare fetch",
        )
        for runtime, took in first.items()
    ]


def _added(per_call: dict[str, dict[str, dict[str, list[float]]]]) -> list[Row]:
    rows = []
    for runtime, by in per_call.items():
        ours, bare = by["deputize"], by["fetch"]
        added = _median_difference(ours["took"], bare["took"])
        cpu = ""
        if ours["onCpu"]:
            cpu = f"; of the processor's time {milliseconds(_median_difference(ours['onCpu'], bare['onCpu']))}"
        p50, bare_p50 = median(ours["took"]), median(bare["took"])
        rows.append(
            Row(
                f"npm package in {runtime}: added to a call over bare fetch",
                f"{milliseconds(added)}{cpu} (p50 {milliseconds(p50)})",
                f"bare fetch p50 {milliseconds(bare_p50)}",
                f"{p50 / bare_p50:.2f}×",
                f"< {TARGET_ADDED_MS} ms",
                added < TARGET_ADDED_MS,
            )
        )
    return rows


def _median_difference(ours: list[float], bare: list[float]) -> float:
    """The difference of each call and the one beside it, so that other work of the machine affects both."""
    return median(a - b for a, b in zip(ours, bare, strict=True))


def _median_and_range(values: list[float]) -> str:
    return f"{milliseconds(median(values))} ({min(values):.0f} to {max(values):.0f})"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
