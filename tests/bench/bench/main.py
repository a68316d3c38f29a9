"""Measures everything in turn, prints the table and writes it to a file."""

import argparse
import dataclasses
import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from . import (
    billed,
    calls,
    client,
    cold,
    deputize,
    floor,
    machine,
    memory,
    pages,
    person,
    processes,
    refresh,
    scale,
    second_day,
    setup,
    stream,
    table_costs,
    tokens,
)
from .load import Measured
from .paths import OUTPUT, SERVER
from .plan import FULL, QUICK, Plan
from .report import MISSING, Row, table

PARTS = (
    "tokens",
    "calls",
    "stream",
    "person",
    "refresh",
    "pages",
    "memory",
    "table",
    "client",
    "cold",
    "billed",
    "scale",
    "second-day",
)

# What takes minutes to fill a table.
LARGE = {"scale", "second-day"}


class Bench:
    """The rows so far. A part that fails gets a row that says so, and the other parts still run."""

    def __init__(self):
        self.rows: list[Row] = []
        self.figures: dict = {}
        self.failed = False

    def part(self, name: str, measure, *arguments):
        print(f"bench: {name}", file=sys.stderr)
        try:
            rows, figures = measure(*arguments)
        except (
            RuntimeError,
            OSError,
            LookupError,
            ValueError,
            TypeError,
            subprocess.SubprocessError,
        ) as error:
            print(f"bench: {name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            self.rows.append(Row(name, f"{MISSING}: failed, see the messages of the run"))
            self.failed = True
            return None
        self.rows += rows
        self.figures[name] = figures
        return figures


def main() -> int:
    options = _options()
    # Ends through the context managers, so that a stopped benchmark leaves no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary = None if options.peers_only else options.server
    if binary and not binary.exists():
        sys.exit(f"bench: no {binary}; run `cargo build --release` first, or give --peers-only")

    parts = _parts(options)
    setup.needed_by(parts)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    described = machine.describe(binary)
    began = time.monotonic()
    bench = _measure(binary, QUICK if options.quick else FULL, parts)
    seconds = time.monotonic() - began
    _publish(bench, described, options, seconds)
    return 1 if bench.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/bench/run", description="Measures Deputize beside its peers."
    )
    parser.add_argument("--quick", action="store_true", help="a look whether it works, in under 4 minutes")
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}; may be repeated"
    )
    parser.add_argument("--without-scale", action="store_true", help="leave out the million delegations, and the million events")
    parser.add_argument("--peers-only", action="store_true", help="only the peers, without our server")
    parser.add_argument(
        "--server", type=Path, default=SERVER, help="our binary (default: target/release/deputize)"
    )
    parser.add_argument("--json", type=Path, default=OUTPUT / "latest.json", help="where the figures go")
    return parser.parse_args()


def _parts(options: argparse.Namespace) -> set[str]:
    parts = set(options.only or PARTS)
    return parts - LARGE if options.without_scale or options.quick else parts


def _measure(binary: Path | None, plan: Plan, parts: set[str]) -> Bench:
    bench = Bench()
    with ExitStack() as stack:
        _, upstream_url = stack.enter_context(processes.upstream())
        with ExitStack() as ours:
            server = None
            if binary and parts & {"tokens", "calls", "stream"}:
                server = ours.enter_context(deputize.started(binary))
                time.sleep(2)
                idle = server.process.resident_mib()
            token_figures, call_figures = {}, {}
            if "tokens" in parts:
                token_figures = bench.part("tokens", tokens.measure, server, plan) or {}
                bench.part("floor", floor.measure, token_figures.get("busy", {}).get("M2M"))
            if "calls" in parts:
                call_figures = bench.part("calls", calls.measure, server, upstream_url, plan) or {}
            if server and "stream" in parts:
                bench.part("stream", stream.measure, server, upstream_url, plan)
            if server and {"tokens", "calls"} <= parts:
                bench.part("resident memory", _memory, server, idle, token_figures, call_figures)
        if binary and parts & {"person", "refresh"}:
            # A new process: people, apps and families of tokens would be a part of "after the load" otherwise.
            with deputize.started(binary, "deputize-people") as server:
                if "person" in parts:
                    bench.part("person", person.measure, server, upstream_url, plan)
                if "refresh" in parts:
                    bench.part("refresh", refresh.measure, server, upstream_url, plan)
        if binary and "pages" in parts:
            bench.part("pages", pages.measure, binary, plan)
        if binary and "memory" in parts:
            # A new process, since what counts is the most that it has ever had.
            with deputize.started(binary, "deputize-memory") as new:
                bench.part("memory", memory.measure, new, upstream_url)
        if binary and "table" in parts:
            # Counting capacity costs time, so this uses a separate server.
            with deputize.started(binary, "deputize-measured", flags=("--measure",)) as measured:
                bench.part("table", table_costs.measure, measured, upstream_url, plan)
        if binary and "client" in parts:
            bench.part("client", client.measure, binary, upstream_url, plan)
        if binary and "cold" in parts:
            bench.part("cold", cold.measure, binary, plan)
        if binary and "billed" in parts:
            bench.part("billed", billed.measure, binary, plan)
        if binary and "scale" in parts:
            bench.part("scale", scale.measure, binary, upstream_url, plan)
        if binary and "second-day" in parts:
            bench.part("second day", second_day.measure, binary, plan)
        if parts == set(PARTS) - LARGE:
            bench.rows += [scale.skipped(), second_day.skipped()]
    return bench


def _memory(server, idle: float, token_figures: dict, call_figures: dict) -> tuple[list[Row], dict]:
    loaded = server.process.resident_mib()
    peers = {
        "oidc-provider": token_figures.get("peer_resident_mib"),
        "FastMCP proxy": call_figures.get("fastmcp_resident_mib"),
    }
    beside = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in peers.items() if mib)
    row = Row(
        "Resident memory, its database included",
        f"idle {idle:.0f} MiB, after the load {loaded:.0f} MiB",
        beside,
    )
    return [row], {"idle_mib": idle, "loaded_mib": loaded}


def _publish(bench: Bench, described: dict, options: argparse.Namespace, seconds: float) -> None:
    kind = "A quick run: only to see that it works. " if options.quick else ""
    text = f"{table(bench.rows)}\n\n{kind}{machine.in_words(described)} Took {seconds:.0f} s.\n"
    print(text)
    (OUTPUT / "latest.md").write_text(text)
    everything = {
        "quick": options.quick,
        "seconds": seconds,
        "machine": described,
        "rows": [row.as_json() for row in bench.rows],
        "figures": bench.figures,
    }
    options.json.write_text(json.dumps(everything, indent=2, default=_plain) + "\n")
    print(f"bench: figures in {options.json}, logs in {OUTPUT}", file=sys.stderr)


def _plain(value):
    if isinstance(value, Measured):
        return [dataclasses.asdict(sample) for sample in value.samples]
    raise TypeError(type(value))
