"""Deputize's client at a real authorization server, in each of the three ways that MCP defines."""

from __future__ import annotations

from pathlib import Path

import httpx
from harness.api import caller, done
from harness.connecting import (
    CALLBACK_PATH,
    CHAT,
    acting_as,
    begin,
    connect,
    connect_until_expired,
    register_chat,
    whoami,
)
from harness.demo_env import DemoEnv
from harness.protected import Protected
from harness.secrets_ledger import LEDGER
from harness.server import Server

HTTPS_URL = "https://deputize.example"
METADATA_PATH = "/api/v1/oauth/client-metadata.json"


def client_id_of(authorization_url: str) -> str:
    return httpx.URL(authorization_url).params["client_id"]


def assert_connects_and_refreshes(user: httpx.Client, login: str, protected: Protected) -> None:
    connect_until_expired(user, login, protected)
    assert acting_as(whoami(user)) == login
    assert protected.refreshes()["ok"] >= 1
    assert protected.families(login) == [(True, 1)]


def test_one_client_is_registered_and_kept_for_all_users_and_connections(
    server: Server, demo: DemoEnv, protected: Protected
) -> None:
    register_chat(server, protected)
    alice, bob = (caller(server, api_key=key) for key in (demo.ALICE_API_KEY, demo.BOB_API_KEY))
    assert_connects_and_refreshes(alice, "alice", protected)
    assert_connects_and_refreshes(bob, "bob", protected)
    connect(alice, "alice")
    assert protected.state()["registrations"] == 1
    assert client_id_of(begin(alice)) == client_id_of(begin(bob))


def test_a_client_that_an_admin_has_registered_is_used_as_it_is(
    server: Server, demo: DemoEnv, protected: Protected
) -> None:
    # By hand, as in the provider's own console.
    metadata = {
        "redirect_uris": [server.url + CALLBACK_PATH],
        "grant_types": ["authorization_code", "refresh_token"],
        "application_type": "native",
        "token_endpoint_auth_method": "client_secret_basic",
    }
    client = done(httpx.post(f"{protected.issuer}/reg", json=metadata)).json()
    LEDGER.add("client_secret", client["client_secret"])
    assert protected.state()["registrations"] == 1
    given = {"issuer": protected.issuer} | {name: client[name] for name in ("client_id", "client_secret")}
    register_chat(server, protected, oauth_client=given)

    bob = caller(server, api_key=demo.BOB_API_KEY)
    assert client_id_of(begin(bob)) == client["client_id"]
    assert_connects_and_refreshes(bob, "bob", protected)
    assert protected.state()["registrations"] == 1
    shown = done(bob.get(f"/api/v1/servers/{CHAT}")).text
    assert client["client_id"] in shown
    assert client["client_secret"] not in shown


def test_where_metadata_documents_are_taken_nothing_is_registered(tmp_path: Path) -> None:
    """Such a document must be served by https. Here the authorization server is told its real address."""
    with (
        Server.start(tmp_path / "data", flags=["--url", HTTPS_URL]) as server,
        Protected.start(flags=(f"--metadata-origin={HTTPS_URL}={server.url}",)) as protected,
    ):
        register_chat(server, protected)
        bob = caller(server, api_key=server.demo.BOB_API_KEY)
        document = done(caller(server).get(METADATA_PATH)).json()
        assert document["client_id"] == HTTPS_URL + METADATA_PATH
        assert client_id_of(begin(bob)) == document["client_id"]
        assert_connects_and_refreshes(bob, "bob", protected)
        assert protected.state()["registrations"] == 0
