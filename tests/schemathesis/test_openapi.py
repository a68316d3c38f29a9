"""Generated requests, valid and invalid, to every operation of `/openapi.json`, from three kinds of caller.

No request may end in a 5xx, and each answer must be one that the document promises. Generation
is deterministic, so a failure repeats; the report gives a curl command for each.
Checks and exclusions are in `schemathesis.toml`, with reasons.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from harness.api import agent_token, caller, done
from harness.secrets_ledger import LEDGER
from harness.server import Server

CONFIG = Path(__file__).parent / "schemathesis.toml"
RUN_DEADLINE_SECONDS = 240


def headers_of(kind: str, server: Server) -> list[str]:
    match kind:
        case "admin API key":
            return [f"x-runlayer-api-key: {server.demo.API_KEY}"]
        case "agent token":
            return [f"Authorization: Bearer {agent_token(server)}"]
        case _:
            return []


def operations(server: Server) -> int:
    methods = {"get", "post", "put", "patch", "delete", "head", "options"}
    paths = done(caller(server).get("/openapi.json")).json()["paths"]
    return sum(method in methods for path in paths.values() for method in path)


@pytest.mark.parametrize("kind", ["admin API key", "agent token", "nobody"])
def test_every_operation_answers_as_its_description_says(tmp_path: Path, kind: str) -> None:
    report = tmp_path / "junit.xml"
    with Server.start(tmp_path / "data") as server:
        command = [
            Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG,
            "run", f"{server.url}/openapi.json",
            "--generation-deterministic", "--no-color",
            "--report", "junit", "--report-junit-path", report,
        ]  # fmt: skip
        for header in headers_of(kind, server):
            command += ["--header", header]
        done_run = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=RUN_DEADLINE_SECONDS, check=False
        )
        print(done_run.stdout)
        assert done_run.returncode == 0, f"as {kind}:\n{done_run.stdout}\n{done_run.stderr}"
        # A document that lists nothing would pass any check.
        tested = ElementTree.parse(report).getroot().findall(".//testcase")
        assert len(tested) >= operations(server) >= 20
        assert server.process.poll() is None
        assert "panicked" not in server.output()
    assert LEDGER.leaks_in(server.output()) == []
