"""Load by wrk: one thread on the load's own core, for a limited time. Every answer must be 2xx."""

import json
import os
import re
import statistics
import subprocess
from dataclasses import dataclass

from .cores import LOAD_CORE, pinned
from .http import Request
from .paths import HERE


@dataclass
class Load:
    seconds: float
    connections: int
    think_ms: int = 0


@dataclass
class Sample:
    """One run of wrk."""

    per_second: float
    p50_ms: float
    p99_ms: float


@dataclass
class Measured:
    """Several runs: the median of each figure, and the samples behind it."""

    samples: list[Sample]

    def median(self, figure: str) -> float:
        return statistics.median(getattr(sample, figure) for sample in self.samples)

    def spread(self, figure: str) -> tuple[float, float]:
        values = [getattr(sample, figure) for sample in self.samples]
        return min(values), max(values)


def run(request: Request, load: Load) -> Sample:
    return run_script(
        "load.lua",
        request.url,
        load,
        BENCH_METHOD=request.method,
        BENCH_BODY=request.body or "",
        BENCH_HEADERS="\n".join(f"{name}: {value}" for name, value in request.headers.items()),
        BENCH_THINK_MS=str(load.think_ms),
    )


def run_script(script: str, url: str, load: Load, **environment: str) -> Sample:
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s", "--timeout", "5s"]
    done = subprocess.run(
        pinned(LOAD_CORE, [*command, "-s", HERE / script, url]),
        env={**os.environ, **environment, "BENCH_SUMMARY": str(HERE / "summary.lua")},
        capture_output=True,
        text=True,
        timeout=load.seconds + 60,
    )
    found = re.search(r"^SUMMARY (.*)$", done.stdout, re.MULTILINE)
    if not found:
        raise RuntimeError(f"wrk failed on {url}: {done.stdout}{done.stderr}")
    summary = json.loads(found[1])
    if summary["failed"] or not summary["requests"]:
        raise RuntimeError(f"{summary['failed']} of {summary['requests']} requests failed on {url}")
    return Sample(
        summary["requests"] / summary["seconds"], summary["p50_us"] / 1000, summary["p99_us"] / 1000
    )


def interleaved(requests: dict, load: Load, repetitions: int, run=run) -> dict[str, Measured]:
    """A B C, A B C, ...: a drift of the machine affects all of them alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in requests}
    for _ in range(repetitions):
        for name, request in requests.items():
            samples[name].append(run(request, load))
    return {name: Measured(taken) for name, taken in samples.items()}
