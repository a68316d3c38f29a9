"""The conformance suite's scenarios for authorization servers, with a person in Chromium.

The other scenarios about authorization do not apply. Those of its command `client` (`auth/…`) test a client, at a server
of the suite's own. Its command `server`, for MCP servers, has none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from support import suite
from support.person import Person
from support.upstreams import free_port

VERSIONS = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]


def test_the_suite_has_no_further_scenario_for_an_authorization_server() -> None:
    """Otherwise it belongs here."""
    command = [*suite.COMMAND, "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    _, ours = listed.split("Authorization server scenarios")
    assert re.findall(r"^  - (\S+) \[(.*)\]$", ours, re.MULTILINE) == [
        ("authorization-server-metadata-endpoint", ",".join(VERSIONS)),
        ("authorization-code-grant", ",".join(VERSIONS)),
    ]
    servers = listed.split("Server scenarios")[1].split("Client scenarios")[0]
    assert not re.search("auth|token|oauth", servers)


@pytest.mark.parametrize("resource", ["/api/v1/proxy/demo/mcp", "/api/v1"])
def test_a_client_of_the_suite_gets_its_metadata_and_by_a_persons_consent_its_token(
    resource: str, bob: Person, tmp_path: Path
) -> None:
    """Both scenarios. They are the same in every revision, so they run in the newest."""
    port = free_port()
    registration = {
        "redirect_uris": [f"http://127.0.0.1:{port}/callback"],
        "token_endpoint_auth_method": "none",
        "client_name": "Conformance",
    }
    registered = httpx.post(f"{bob.server.url}/api/v1/oauth/register", json=registration).json()
    with suite.authorization(
        bob.server.url, registered["client_id"], bob.server.url + resource, port, VERSIONS[-1], tmp_path
    ) as run:
        assert "It calls itself “Conformance”" in bob.sign_in(run.address())
        bob.allow()
        checks = run.checks()
    assert checks == {
        ("authorization-server-metadata-endpoint", "authorization-server-metadata"): "SUCCESS",
        ("authorization-server-metadata-endpoint", "authorization-server-metadata-cimd"): "SUCCESS",
        ("authorization-code-grant", "authorization-code-grant"): "SUCCESS",
    }
