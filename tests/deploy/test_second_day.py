"""The second day behind the same guard: requests that are sent again, mistakes, lists, and people who leave."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from emulated.deployment import Deployment
from emulated.organization import allowed, come_back
from emulated.person import CALLBACK, Person
from harness.api import caller, done, obo_token
from harness.demo_env import DemoEnv
from harness.secrets_ledger import LEDGER


@pytest.fixture
def alice(server: Deployment, demo: DemoEnv) -> httpx.Client:
    return caller(server, api_key=demo.ALICE_API_KEY)


@pytest.fixture
def bob(server: Deployment, demo: DemoEnv) -> httpx.Client:
    return caller(server, api_key=demo.BOB_API_KEY)


def twice(server: Deployment, client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Sends a request again, as if its answer had been lost. Another process answers it the same."""
    headers = {"idempotency-key": f'"{path}"'}
    first = done(client.post(path, json=body, headers=headers))
    server.stack.configure({"RESET": path})
    second = done(client.post(path, json=body, headers=headers))
    assert (first.status_code, first.text) == (second.status_code, second.text)
    answer: dict[str, Any] = first.json()
    for secret in (answer.get("client_secret"), answer.get("key")):
        if isinstance(secret, str):
            LEDGER.add("secret", secret)
    return answer


def delete_twice(client: httpx.Client, path: str) -> None:
    assert [client.delete(path).status_code for _ in range(2)] == [204, 204]


def test_what_is_sent_again_is_made_once_by_each_function(
    server: Deployment, demo: DemoEnv, alice: httpx.Client, bob: httpx.Client
) -> None:
    account = twice(server, alice, "/api/v1/agent-accounts", {"name": "Once"})["id"]
    assert [one["name"] for one in done(alice.get("/api/v1/agent-accounts")).json()].count("Once") == 1
    twice(server, bob, f"/api/v1/agent-accounts/{account}/delegations", {})
    new = {"name": "App", "redirect_uris": [CALLBACK], "auth_method": "client_secret"}
    app = twice(server, alice, "/api/v1/apps", new)["client_id"]
    begun = done(bob.post("/api/v1/servers/demo-oauth/connect", json={})).json()
    come_back(bob, allowed(begun["authorization_url"], "bob", demo.DEMO_PASSWORD))
    twice(server, bob, f"/api/v1/agent-accounts/{account}/session-grants", {"server_id": "demo-oauth"})

    key = done(bob.post("/api/v1/api-keys", json={"name": "short-lived"})).json()
    LEDGER.add("key", key["key"])
    delete_twice(bob, f"/api/v1/api-keys/{key['id']}")
    delete_twice(alice, f"/api/v1/apps/{app}")
    delete_twice(bob, "/api/v1/servers/demo-oauth/connection")


def test_things_are_renamed_given_away_and_found_by_what_they_are_now(
    server: Deployment, demo: DemoEnv, alice: httpx.Client, bob: httpx.Client
) -> None:
    done(alice.patch(f"/api/v1/users/{demo.BOB_ID}", json={"email": "robert@example.com", "groups": ["ops"]}))
    done(alice.patch("/api/v1/servers/demo", json={"name": "Renamed"}))
    owners = [{"group": "ops"}, {"user_id": demo.USER_ID}]
    account = done(alice.post("/api/v1/agent-accounts", json={"name": "Shared", "owners": owners})).json()
    LEDGER.add("client_secret", account["client_secret"])
    assert [one["name"] for one in done(bob.get("/api/v1/agent-accounts")).json()] == ["Shared"]
    change = {"name": "Not shared", "owners": [{"user_id": demo.USER_ID}]}
    done(alice.patch(f"/api/v1/agent-accounts/{account['id']}", json=change))
    assert done(bob.get("/api/v1/agent-accounts")).json() == []
    found = done(alice.get("/api/v1/users", params={"email_prefix": "robert@"})).json()
    assert [one["id"] for one in found] == [demo.BOB_ID]
    assert done(alice.get("/api/v1/agent-accounts", params={"sort": "name"})).json()
    assert done(alice.get("/api/v1/servers", params={"name_prefix": "renamed"})).json()
    done(alice.get("/api/v1/servers/demo/delegations"))
    question = {"server_id": "demo", "tool_name": "list_repos"}
    assert done(alice.post("/api/v1/policies/who-could", json=question)).json()["people"]["of"] >= 3


def test_all_that_somebody_had_ends_when_they_leave(server: Deployment, demo: DemoEnv, alice: httpx.Client) -> None:
    carol = caller(server, api_key=demo.CAROL_API_KEY)
    Person(server, "carol@example.com").sign_in()
    done(alice.patch(f"/api/v1/agent-accounts/{demo.AGENT_ID}", json={"owner_user_id": demo.CAROL_ID}))
    assert obo_token(server, demo.CAROL_ID)
    body = {"agents": "give", "successor_user_id": demo.BOB_ID}
    report = done(alice.post(f"/api/v1/users/{demo.CAROL_ID}/offboard", json=body)).json()
    assert report["complete"], report
    assert report["agent_accounts"]["count"] == 1 and report["delegations"]["count"] == 1, report
    assert carol.get("/api/v1/me").status_code == 401
