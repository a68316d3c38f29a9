"""Generated requests, valid and invalid, to every operation of `/openapi.json`, from each kind of caller.

No request may end in a 5xx, and each answer must be one that the document promises. Generation
is deterministic, so a failure repeats; the report gives a curl command for each.
Checks and exclusions are in `schemathesis.toml`, with reasons.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from xml.etree import ElementTree

import pytest
from harness.api import agent_token, caller, done
from harness.secrets_ledger import LEDGER
from harness.server import Server

HERE = Path(__file__).parent
CONFIG = HERE / "schemathesis.toml"
TOKEN_ENDPOINTS = "^/api/v1/oauth/"
RUN_DEADLINE_SECONDS = 240


def arguments_of(kind: str, server: Server) -> list[str]:
    """The caller's credential, and the operations for which it is good. A client's is only for the token endpoints."""
    demo = server.demo
    match kind:
        case "admin API key":
            return ["--header", f"x-runlayer-api-key: {demo.API_KEY}"]
        case "agent token":
            return [
                "--header", f"Authorization: Bearer {agent_token(server)}",
                "--exclude-path-regex", TOKEN_ENDPOINTS,
            ]  # fmt: skip
        case "client":
            credentials = b64encode(f"{demo.CLIENT_ID}:{demo.CLIENT_SECRET}".encode()).decode()
            return [
                "--header", f"Authorization: Basic {credentials}",
                "--include-path-regex", TOKEN_ENDPOINTS,
            ]  # fmt: skip
        case _:
            return []


def admin_ids(server: Server) -> list[str]:
    """The ids of the admin and of the key that the admin calls with."""
    alice = caller(server, api_key=server.demo.API_KEY)
    return [server.demo.USER_ID, *(key["id"] for key in done(alice.get("/api/v1/api-keys")).json())]


def operations(kind: str, server: Server) -> set[str]:
    """The operations for that kind of caller. Schemathesis leaves out the document's own."""
    paths = done(caller(server).get("/openapi.json")).json()["paths"]
    listed = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    of_tokens = {operation for operation in listed if re.search(TOKEN_ENDPOINTS, operation.split(" ")[1])}
    assert len(of_tokens) >= 3 and len(listed) >= 20, "a document that lists nothing would pass any check"
    match kind:
        case "agent token":
            listed -= of_tokens
        case "client":
            listed = of_tokens
    return listed - {"GET /openapi.json"}


@pytest.mark.parametrize("kind", ["admin API key", "agent token", "client", "nobody"])
def test_every_operation_answers_as_its_description_says(tmp_path: Path, kind: str) -> None:
    report = tmp_path / "junit.xml"
    with Server.start(tmp_path / "data") as server:
        command = [
            Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG,
            "run", f"{server.url}/openapi.json",
            "--generation-deterministic", "--no-color",
            "--report", "junit", "--report-junit-path", report,
            *arguments_of(kind, server),
        ]  # fmt: skip
        done_run = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ
            | {
                "SCHEMATHESIS_HOOKS": "hooks",
                "PYTHONPATH": str(HERE),
                "SPARED_IDS": " ".join(admin_ids(server)),
            },
            capture_output=True,
            text=True,
            timeout=RUN_DEADLINE_SECONDS,
            check=False,
        )
        print(done_run.stdout)
        assert done_run.returncode == 0, f"as {kind}:\n{done_run.stdout}\n{done_run.stderr}"
        tested = {case.get("name") for case in ElementTree.parse(report).getroot().iter("testcase")}
        assert tested == operations(kind, server)
        assert server.process.poll() is None
        assert "panicked" not in server.output()
    assert LEDGER.leaks_in(server.output()) == []
