"""Connecting to providers as somebody else has emulated them: connecting, calling, refreshing, and the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.api import call_tool, caller, done
from harness.connecting import CALLBACK_PATH, come_back
from harness.emulated import CLIENT, Emulated, consent, parameters
from harness.secrets_ledger import LEDGER
from harness.server import Server
from harness.token_taker import TokenTaker

_POLICY = "permit(principal, action, resource);"

# What an admin must say where there is no metadata.
_WITHOUT_METADATA = {
    "github": ("/login/oauth/authorize", "/login/oauth/access_token"),
    "slack": ("/oauth/v2/authorize", "/api/oauth.v2.access"),
    "linear": ("/oauth/authorize", "/oauth/token"),
}
_ISSUER_PATHS = {"microsoft": "/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"}
# Those whose sessions can be renewed.
_RENEWED = ("google", "microsoft", "okta", "linear")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.start(tmp_path_factory.mktemp("emulated") / "data") as server:
        alice = caller(server, api_key=server.demo.ALICE_API_KEY)
        done(alice.post("/api/v1/policies", json={"name": "Everything", "text": _POLICY}))
        yield server


@pytest.fixture(scope="module")
def emulated(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    directory: Path = tmp_path_factory.mktemp("emulate")
    with Emulated(directory, server.url + CALLBACK_PATH) as emulated:
        yield emulated


def registered(server: Server, service: str, at: str, mcp: TokenTaker) -> None:
    client: dict[str, Any] = CLIENT | {"issuer": mcp.issuer, "scope": "openid email"}
    if service in _WITHOUT_METADATA:
        authorize, token = _WITHOUT_METADATA[service]
        client |= {"authorization_endpoint": at + authorize, "token_endpoint": at + token, "pkce": "assume"}
    if service in _RENEWED:
        client |= {"authorization_parameters": {"access_type": "offline"}, "scope": "openid offline_access"}
    if service == "linear":
        client |= {"scope": "read write"}
    LEDGER.add("client_secret", CLIENT["client_secret"])
    body = {"id": service, "name": service, "url": mcp.url, "auth": "oauth", "oauth_client": client}
    done(caller(server, api_key=server.demo.ALICE_API_KEY).post("/api/v1/servers", json=body))


@pytest.mark.parametrize("service", ["github", "google", "slack", "microsoft", "okta", "linear", "clerk"])
def test_a_provider_is_connected_called_and_renewed(server: Server, emulated: Emulated, service: str) -> None:
    at = emulated[service]
    with TokenTaker(at + _ISSUER_PATHS.get(service, "")) as mcp:
        registered(server, service, at, mcp)
        bob = caller(server, api_key=server.demo.BOB_API_KEY)
        begun = done(bob.post(f"/api/v1/servers/{service}/connect")).json()["authorization_url"]
        assert parameters(begun)["code_challenge_method"] == "S256"
        assert "Connected" in done(come_back(bob, consent(begun))).text

        done(call_tool(bob, service, "taken"))
        (first,) = mcp.taken
        LEDGER.add("access_token", first)
        mcp.refuse_what_was_taken()
        again = call_tool(bob, service, "taken")
        if service in _RENEWED:
            done(again)
            assert len(set(mcp.taken)) == 2
            LEDGER.add("access_token", mcp.taken[-1])
        else:
            assert (again.status_code, again.json()["detail"]) == (401, "OAuth session expired")
