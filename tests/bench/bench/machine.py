"""The machine on which the numbers were measured, and the versions."""

import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

from .paths import HERE, NODE, OUTPUT, PYTHON, ROOT


def describe(binary: Path | None) -> dict:
    return {
        "date": _utc(datetime.datetime.now(datetime.timezone.utc)),
        "commit": _commit(),
        "binary_built": _utc_of(binary) if binary else None,
        "cpu": _first(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo")),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_first(r"MemTotal:\s*(\d+)", Path("/proc/meminfo"))) / 1024**2),
        "system": _first(r'PRETTY_NAME="(.*)"', Path("/etc/os-release")),
        "kernel": platform.release().split("-")[0],
        "data_on": _output("df", "--output=fstype", OUTPUT).split("\n")[-1],
        "load_average_before": os.getloadavg()[0],
        "versions": {
            "rustc": _output("rustc", "--version").removeprefix("rustc "),
            "node": _output(NODE, "--version"),
            **_node_packages("oidc-provider", "@modelcontextprotocol/server"),
            "python": platform.python_version(),
            "fastmcp": _python_package("fastmcp"),
            "wrk": _output("wrk", "-v").split(" [")[0].removeprefix("wrk "),
        },
    }


def in_words(machine: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}, commit {machine['commit']}. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Linux {machine['kernel']}, "
        f"data on {machine['data_on']}; load average before the run {machine['load_average_before']:.1f}. "
        f"{versions}."
    )


def _commit() -> str:
    commit = _output("git", "-C", ROOT, "rev-parse", "--short", "HEAD")
    changed = _output(
        "git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no", "functions", "Cargo.lock"
    )
    return f"{commit} with changes" if changed else commit


def _utc(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _utc_of(file: Path) -> str:
    return _utc(datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.timezone.utc))


def _first(pattern: str, file: Path) -> str:
    found = re.search(pattern, file.read_text())
    return found[1] if found else "0"


def _node_packages(*names: str) -> dict[str, str]:
    lock = json.loads((HERE / "package-lock.json").read_text())["packages"]
    return {name: lock[f"node_modules/{name}"]["version"] for name in names}


def _python_package(name: str) -> str:
    return _output(PYTHON, "-c", f"import importlib.metadata as m; print(m.version('{name}'))")


def _output(*command) -> str:
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=30)
    except OSError:
        return "unknown"
    return done.stdout.strip()
