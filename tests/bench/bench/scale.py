"""Whether latency stays the same with a million delegations and grants in the table as with a thousand."""

from pathlib import Path

from . import deputize, load
from .deputize import Deputize, expect_echo
from .load import Load
from .plan import FEW, MANY, Plan
from .report import Row, milliseconds, times

TARGET_RATIO = 1.2


def measure(binary: Path, upstream_url: str, plan: Plan) -> tuple[list[Row], dict]:
    with (
        deputize.started(binary, "deputize-few", seed=("--seed", str(FEW))) as few,
        deputize.started(binary, "deputize-many", seed=("--seed", str(MANY))) as many,
    ):
        requests = _requests("few", few, upstream_url) | _requests("many", many, upstream_url)
        for request in requests.values():
            load.run(request, Load(plan.warm_up_seconds, 1))
        measured = load.interleaved(requests, Load(plan.call_seconds, 1), plan.repetitions)

    rows = []
    for name in ["M2M token", "OBO token", "OBO call"]:
        p50_few, p50_many = (measured[f"{name}, {size}"].median("p50_ms") for size in ["few", "many"])
        rows.append(
            Row(
                f"{name}, p50 with {MANY:,} delegations and grants",
                milliseconds(p50_many),
                f"with {FEW:,}: {milliseconds(p50_few)}",
                times(p50_many / p50_few),
                f"≤ {TARGET_RATIO}×",
                p50_many / p50_few <= TARGET_RATIO,
            )
        )
    return rows, measured


def skipped() -> Row:
    return Row(f"p50 with {MANY:,} delegations and grants", "not measured in this run")


def _requests(size: str, server: Deputize, upstream_url: str) -> dict:
    call = server.call_echo(server.register(upstream_url), server.on_behalf_of_alice())
    expect_echo(call.send())
    requests = {"M2M token": server.m2m_token(), "OBO token": server.obo_token(), "OBO call": call}
    return {f"{name}, {size}": request for name, request in requests.items()}
