"""What Lambda would bill for the answer of a warm function, with a table that answers without delay."""

import math
from pathlib import Path
from statistics import median

from harness.gateway import Request

from . import functions
from .functions import HELLO, HELLO_TABLE, OPERATIONS
from .plan import Plan
from .report import MISSING, Row, milliseconds


def measure(server_binary: Path, plan: Plan) -> tuple[list[Row], dict]:
    if why := functions.missing():
        return [Row("Billed", f"{MISSING}: {why}")], {}
    asked = {HELLO: HELLO, HELLO_TABLE: HELLO_TABLE}
    asked |= {operation: functions.binary(name) for operation, name in OPERATIONS.items()}
    durations: dict[str, list[float]] = {}
    cpu: dict[str, float] = {}
    with functions.deployment(server_binary) as deployment:
        requests = deployment.requests | dict.fromkeys((HELLO, HELLO_TABLE), Request("GET", "/"))
        for operation, name in asked.items():
            with deployment.start(name) as function:
                for _ in range(plan.warm_invocations // 5):
                    functions.ask(function, requests[operation])
                before = functions.on_cpu_ms(function)
                durations[operation] = [
                    functions.ask(function, requests[operation]).milliseconds()
                    for _ in range(plan.warm_invocations)
                ]
                cpu[operation] = (functions.on_cpu_ms(function) - before) / plan.warm_invocations
    beside = f"hello {_shown(durations[HELLO])}, one that reads a table {_shown(durations[HELLO_TABLE])}"
    rows = [
        Row(f"Billed for one {name}", f"{_shown(durations[name])}, {cpu[name]:.2f} ms on the processor", beside)
        for name in OPERATIONS
    ]
    figures = {
        name: {"billed_ms": _billed(each), "cpu_ms": cpu[name], "ms": each} for name, each in durations.items()
    }
    return rows, figures


def _billed(durations: list[float]) -> float:
    """The average. Lambda bills each invocation by the whole millisecond."""
    return sum(map(math.ceil, durations)) / len(durations)


def _shown(durations: list[float]) -> str:
    p99 = sorted(durations)[max(0, round(len(durations) * 0.99) - 1)]
    return f"{_billed(durations):.1f} ms on average (p50 {milliseconds(median(durations))}, p99 {milliseconds(p99)})"
