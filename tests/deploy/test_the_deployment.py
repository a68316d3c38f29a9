"""What an operator sees after the two commands: a working address, a first admin, metrics and logs."""

from __future__ import annotations

import json

import pytest
from emulated.deployment import Deployment
from emulated.stack import NAME
from harness.api import agent_token, caller, done
from harness.secrets_ledger import LEDGER
from templates import FUNCTIONS

# One path of each function, and its answer without a credential.
NOBODYS = {
    "token": ("POST", "/api/v1/oauth/token", 415),
    "delegations": ("GET", "/api/v1/delegations", 401),
    "grants": ("GET", "/api/v1/servers/demo-oauth/connection", 401),
    "proxy": ("GET", "/api/v1/proxy/demo/tools", 401),
    "admin": ("GET", "/api/v1/me", 401),
    "console": ("GET", "/api/v1/authorizations", 401),
}


def test_it_is_healthy_and_describes_itself(unchanged_server: Deployment) -> None:
    anonymous = caller(unchanged_server)
    assert done(anonymous.get("/healthz")).json() == {"status": "ok"}
    assert "/api/v1/proxy/{server_id}/tools" in done(anonymous.get("/openapi.json")).json()["paths"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_answers_at_the_one_host(unchanged_server: Deployment, name: str) -> None:
    method, path, status = NOBODYS[name]
    response = caller(unchanged_server).request(method, path)
    assert (response.status_code, "x-request-id" in response.headers) == (status, True), response.text


@pytest.mark.parametrize("path", ["/nothing", "/api/v1", "/api/v1/nothing", "/.well-known/nothing"])
def test_what_is_not_there_is_said_in_our_words(unchanged_server: Deployment, path: str) -> None:
    response = caller(unchanged_server).get(path)
    assert (response.status_code, response.json()["error"]) == (404, "not_found"), response.text


def test_everything_that_it_says_of_itself_is_under_its_address(unchanged_server: Deployment) -> None:
    """Without a domain, the stage is part of the address."""
    anonymous = caller(unchanged_server)
    metadata = done(anonymous.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["issuer"] == unchanged_server.url
    assert done(anonymous.get(metadata["jwks_uri"])).json()["keys"]
    refused = anonymous.get("/api/v1/proxy/demo/tools")
    assert f'resource_metadata="{unchanged_server.url}/' in refused.headers["www-authenticate"]


def test_the_first_admins_key_is_shown_once(unchanged_server: Deployment) -> None:
    me = done(caller(unchanged_server, api_key=unchanged_server.bootstrap_key).get("/api/v1/me")).json()
    assert (me["email"], me["role"]) == ("alice@example.com", "admin")
    again = unchanged_server.stack.bootstrap()
    assert (again.returncode, again.stdout) == (0, ""), again.stderr


def test_each_request_is_counted_for_its_function(unchanged_server: Deployment) -> None:
    agent_token(unchanged_server)
    lines = (line for line in unchanged_server.stack.logs().splitlines() if '"_aws"' in line)
    counted = [json.loads(line[line.index("{") :]) for line in lines]
    of_tokens = [line for line in counted if line["Function"] == f"{NAME}-token"]
    assert of_tokens
    [metrics] = of_tokens[-1]["_aws"]["CloudWatchMetrics"]
    assert metrics["Namespace"] == "Deputize"
    assert ["Function"] in metrics["Dimensions"]
    assert {"Requests", "Errors", "Denied"} <= {metric["Name"] for metric in metrics["Metrics"]}


def test_no_secret_is_in_any_log(unchanged_server: Deployment) -> None:
    """All secrets that this session has seen so far, including the cookbook's."""
    agent_token(unchanged_server)
    logs = unchanged_server.stack.logs()
    assert '"_aws"' in logs
    assert LEDGER.leaks_in(logs) == []
