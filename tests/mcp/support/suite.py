"""The MCP conformance suite as a process, and the results of its checks."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.output import Output

_MCP = Path(__file__).resolve().parents[1]
# The suite needs a newer Node than the rest.
_NODE = _MCP / "node_modules/node/bin/node"
_SUITE = _MCP / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
_DEADLINE_SECONDS = 60
_SCENARIO_MS = 10_000
COMMAND = [_NODE, _SUITE]
_RESULTS = re.compile(r"(?:authorization-)?server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")

# From good to bad.
_STATUSES = ["SUCCESS", "SKIPPED", "WARNING", "FAILURE"]

Checks = dict[tuple[str, str], str]


def run(url: str, version: str, output: Path) -> Checks:
    """The worst status of each check, by scenario and id, in the suite's scenarios for this revision."""
    done = subprocess.run(
        [*COMMAND, "server", "--url", url, "--suite", "all", "--spec-version", version]
        + ["--timeout", str(_SCENARIO_MS), "--output-dir", output],
        cwd=_MCP,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
        check=False,
    )
    checks = _checks(output)
    assert checks, f"the suite did not run:\n{done.stdout}{done.stderr}"
    return checks


def _checks(output: Path) -> Checks:
    checks: Checks = {}
    for file in output.glob("*/checks.json"):
        scenario = _RESULTS.fullmatch(file.parent.name)
        assert scenario, file
        for check in json.loads(file.read_text()):
            if check["status"] == "INFO":
                continue
            key = (scenario["scenario"], check["id"])
            checks[key] = max(checks.get(key, "SUCCESS"), check["status"], key=_STATUSES.index)
    return checks


class AuthorizationRun:
    """The suite at an authorization server. It waits until a person has opened its address and answered."""

    def __init__(self, process: subprocess.Popen[bytes], results: Path) -> None:
        self._process = process
        self._results = results
        self.output = Output()
        assert process.stdout and process.stderr
        self.output.follow(process.stdout)
        self.output.follow(process.stderr)

    def address(self) -> str:
        line = self.output.line_starting_with("http", _DEADLINE_SECONDS)
        assert line, f"the suite names no address:\n{self.output.text()}"
        return line.strip()

    def checks(self) -> Checks:
        self._process.wait(_DEADLINE_SECONDS)
        return _checks(self._results)


@contextmanager
def authorization(
    issuer: str, client_id: str, resource: str, port: int, version: str, results: Path
) -> Iterator[AuthorizationRun]:
    """The suite's scenarios for authorization servers, as a client whose redirect URI is on this port."""
    process = subprocess.Popen(
        [*COMMAND, "authorization", "--url", issuer, "--client-id", client_id, "--resource", resource]
        + ["--port", str(port), "--spec-version", version, "--output-dir", results],
        cwd=_MCP,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    run = AuthorizationRun(process, results)
    try:
        yield run
    finally:
        process.kill()
        process.wait()
        run.output.finish()


def worse(checks: Checks, than: Checks) -> dict[tuple[str, str], str]:
    """The checks with a worse result, and that result."""
    found = {}
    for key, good in than.items():
        came = checks.get(key, "absent")
        if came == "absent" or _STATUSES.index(came) > _STATUSES.index(good):
            found[key] = came
    for key, came in checks.items():
        # For example, a scenario that stopped before its checks.
        if key not in than and came not in ("SUCCESS", "SKIPPED"):
            found[key] = came
    return found


@contextmanager
def authorized(target: str, token: str) -> Iterator[str]:
    """A URL that adds a token to requests on their way to the target, since the suite cannot send one."""
    process = subprocess.Popen(
        ["node", _MCP / "authorizing-forwarder.mjs"],
        env=os.environ | {"TARGET": target, "TOKEN": token},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output = Output()
    assert process.stdout and process.stderr
    output.follow(process.stdout)
    output.follow(process.stderr)
    try:
        ready = output.line_starting_with("listening on ", _DEADLINE_SECONDS)
        assert ready, f"the forwarder did not start:\n{output.text()}"
        yield ready.removeprefix("listening on ").strip()
    finally:
        process.kill()
        process.wait()
        output.finish()
