"""Everything beyond the cookbook, behind the same guard. And: no function may do what nothing here needs."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from emulated.deployment import Deployment
from emulated.organization import allowed, come_back
from harness.api import agent_token, call_tool, caller, done, list_channels, list_repos, obo_token
from harness.demo_env import DemoEnv
from templates import FUNCTIONS

MCP_HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}


@pytest.fixture
def alice(server: Deployment, demo: DemoEnv) -> httpx.Client:
    return caller(server, api_key=demo.ALICE_API_KEY)


def test_signing_keys_are_rotated_and_revoked(server: Deployment, alice: httpx.Client, demo: DemoEnv) -> None:
    before = agent_token(server)
    [old] = done(alice.get("/api/v1/signing-keys")).json()
    done(alice.post("/api/v1/signing-keys"))
    assert done(list_repos(caller(server, token=before), demo))
    after = agent_token(server)
    done(alice.delete(f"/api/v1/signing-keys/{old['kid']}"))
    assert list_repos(caller(server, token=before), demo).status_code == 401
    assert done(list_repos(caller(server, token=after), demo))


def test_a_token_is_looked_at_exchanged_and_given_up(server: Deployment, demo: DemoEnv) -> None:
    token = agent_token(server)
    client = {"client_id": demo.CLIENT_ID, "client_secret": demo.CLIENT_SECRET}
    anonymous = caller(server)
    assert done(anonymous.post("/api/v1/oauth/introspect", data=client | {"token": token})).json()["active"]
    done(anonymous.post("/api/v1/oauth/revoke", data=client | {"token": token}))
    assert not done(anonymous.post("/api/v1/oauth/introspect", data=client | {"token": token})).json()["active"]
    assert list_repos(caller(server, token=token), demo).status_code == 401


def test_people_accounts_and_keys_are_managed(server: Deployment, alice: httpx.Client, demo: DemoEnv) -> None:
    dave = done(alice.post("/api/v1/users", json={"email": "dave@example.com"})).json()
    done(alice.patch(f"/api/v1/users/{dave['id']}", json={"active": False}))
    assert len(done(alice.get("/api/v1/users")).json()) >= 4
    assert done(alice.get(f"/api/v1/users/{demo.BOB_ID}/api-keys")).json()
    key = done(alice.post("/api/v1/api-keys", json={"name": "short-lived"})).json()
    done(alice.delete(f"/api/v1/api-keys/{key['id']}"))
    account = done(alice.post("/api/v1/agent-accounts", json={"name": "Another Bot"})).json()
    done(alice.post(f"/api/v1/agent-accounts/{account['id']}/secrets"))
    assert len(done(alice.get("/api/v1/agent-accounts")).json()) == 2
    bob = caller(server, api_key=demo.BOB_API_KEY)
    assert done(bob.get("/api/v1/agent-accounts")).json() == []


def test_a_newcomer_is_stored_by_whichever_function_meets_them_first(server: Deployment, demo: DemoEnv) -> None:
    paths = {
        "newcomer-a@example.com": "/api/v1/me",
        "newcomer-b@example.com": "/api/v1/delegations",
        "newcomer-c@example.com": "/api/v1/servers/demo-oauth/connection",
        "newcomer-d@example.com": "/api/v1/proxy/demo/tools",
    }
    for email, path in paths.items():
        form = {"email": email, "password": demo.DEMO_PASSWORD}
        token = done(httpx.post(f"{demo.DEMO_ISSUER}/token", data=form)).json()["access_token"]
        assert caller(server, token=token).get(path).status_code in (200, 404)


def test_a_subject_is_unbound_and_bound_again_at_the_token_endpoint(
    server: Deployment, alice: httpx.Client, demo: DemoEnv
) -> None:
    path = f"/api/v1/users/{demo.CAROL_ID}"
    [bound] = done(alice.get(path)).json()["identities"]
    assert "identities" not in done(alice.patch(path, json={"identities": []})).json()
    sign_in = {"email": "carol@example.com", "password": demo.DEMO_PASSWORD}
    token = done(httpx.post(f"{demo.DEMO_ISSUER}/token", data=sign_in)).json()["access_token"]
    form = {
        "grant_type": "client_credentials",
        "client_id": demo.CLIENT_ID,
        "client_secret": demo.CLIENT_SECRET,
        "actor_token": token,
        "actor_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    done(caller(server).post("/api/v1/oauth/token", data=form))
    assert done(alice.get(path)).json()["identities"] == [bound]


def test_policies_are_written_explained_and_deleted(alice: httpx.Client, demo: DemoEnv) -> None:
    text = 'forbid(principal, action == Action::"call_tool", resource == Tool::"demo/list_repos");'
    policy = done(alice.post("/api/v1/policies", json={"name": "Nobody lists", "text": text})).json()
    question = {"server_id": "demo", "tool_name": "list_repos", "agent_account_id": demo.AGENT_ID}
    assert "deny" in json.dumps(done(alice.post("/api/v1/policies/check", json=question)).json()).lower()
    done(alice.put(f"/api/v1/policies/{policy['id']}", json={"name": "Nobody lists any more", "text": text}))
    assert done(alice.get(f"/api/v1/policies/{policy['id']}")).json()["name"] == "Nobody lists any more"
    done(alice.delete(f"/api/v1/policies/{policy['id']}"))
    assert len(done(alice.get("/api/v1/policies")).json()) == 3


def test_a_server_with_a_secret_header_is_registered_and_called(
    server: Deployment, alice: httpx.Client, demo: DemoEnv
) -> None:
    here = demo.DEMO_ISSUER.removesuffix("/demo/issuer")
    header = {"name": "x-api-key", "value": "a-secret-of-the-server"}
    body = {"id": "keyed", "name": "Keyed", "url": f"{here}/demo/mcp", "auth": "header", "header": header}
    done(alice.post("/api/v1/servers", json=body))
    text = 'permit(principal, action == Action::"call_tool", resource in Server::"keyed");'
    done(alice.post("/api/v1/policies", json={"name": "Keyed", "text": text}))
    done(call_tool(caller(server, token=agent_token(server)), "keyed", "list_repos", org="acme-corp"))
    done(alice.patch("/api/v1/servers/keyed", json={"header": header | {"value": "another"}}))
    assert [one["id"] for one in done(alice.get("/api/v1/servers")).json()] == ["demo", "demo-oauth", "keyed"]


def test_tools_are_approved_again(server: Deployment, alice: httpx.Client, demo: DemoEnv) -> None:
    done(alice.patch("/api/v1/servers/demo", json={"pinning": "block"}))
    for admin in (alice, caller(server, token=demo.ADMIN_TOKEN)):
        done(admin.put("/api/v1/proxy/demo/approved-tools"))
    assert done(list_repos(caller(server, token=agent_token(server)), demo))


def test_a_session_is_ended_and_begun_again_over_two_processes(server: Deployment, demo: DemoEnv) -> None:
    """The second process opens what the first has sealed: each process can get every key from KMS."""
    carol = caller(server, api_key=demo.CAROL_API_KEY)
    path = "/api/v1/servers/demo-oauth"
    assert done(carol.get(f"{path}/connection")).json()["status"] == "connected"
    done(carol.delete(f"{path}/connection"))
    assert carol.get(f"{path}/connection").status_code == 404
    begun = done(carol.post(f"{path}/connect", json={})).json()
    server.stack.configure({"RESET": "in the middle"})
    come_back(carol, allowed(begun["authorization_url"], "carol", demo.DEMO_PASSWORD))
    assert done(carol.get(f"{path}/connection")).json()["status"] == "connected"


def test_a_token_for_one_server_is_good_there(server: Deployment, demo: DemoEnv) -> None:
    token = agent_token(server, resource=f"{server.url}/api/v1/proxy/demo/mcp")
    assert done(list_repos(caller(server, token=token), demo))


def test_a_delegation_is_changed_listed_and_revoked(server: Deployment, demo: DemoEnv) -> None:
    sign_in = {"email": "bob@example.com", "password": demo.DEMO_PASSWORD}
    bob = caller(server, token=done(httpx.post(f"{demo.DEMO_ISSUER}/token", data=sign_in)).json()["access_token"])
    path = f"/api/v1/agent-accounts/{demo.AGENT_ID}/delegations"
    made = done(bob.post(path, json={"server_ids": ["demo"]})).json()
    assert obo_token(server, demo.BOB_ID)
    assert [one["id"] for one in done(bob.get(path)).json()] == [made["id"]]
    done(bob.delete(f"/api/v1/delegations/{made['id']}"))


def test_an_owner_revokes_a_delegation_to_their_account(
    server: Deployment, alice: httpx.Client, demo: DemoEnv
) -> None:
    body = {"name": "Bob's Bot", "owner_user_id": demo.BOB_ID}
    account = done(alice.post("/api/v1/agent-accounts", json=body)).json()
    carol = caller(server, api_key=demo.CAROL_API_KEY)
    made = done(carol.post(f"/api/v1/agent-accounts/{account['id']}/delegations")).json()
    done(caller(server, api_key=demo.BOB_API_KEY).delete(f"/api/v1/delegations/{made['id']}"))


def test_a_session_grant_is_used_and_revoked(server: Deployment, demo: DemoEnv, alice: httpx.Client) -> None:
    # A test before this one has disconnected her, and the provider has forgotten her.
    begun = done(alice.post("/api/v1/servers/demo-oauth/connect", json={})).json()
    come_back(alice, allowed(begun["authorization_url"], "alice", demo.DEMO_PASSWORD))
    path = f"/api/v1/agent-accounts/{demo.AGENT_ID}/session-grants"
    grant = done(alice.post(path, json={"server_id": "demo-oauth", "shared": True})).json()
    called = done(list_channels(caller(server, token=obo_token(server, demo.BOB_ID)), demo)).json()
    assert "alice@example.com" in called["content"][0]["text"]
    done(alice.delete(f"/api/v1/session-grants/{grant['id']}"))


def test_an_mcp_session_goes_on_in_another_process(server: Deployment, demo: DemoEnv) -> None:
    """At a server that keeps sessions. The client gets a sealed session id."""
    client = caller(server, token=agent_token(server))
    client.headers.update(MCP_HEADERS)
    path = "/api/v1/proxy/demo/mcp"
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    begun = done(client.post(path, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}))
    if session := begun.headers.get("mcp-session-id"):
        client.headers["mcp-session-id"] = session
    done(client.post(path, json={"jsonrpc": "2.0", "method": "notifications/initialized"}))
    server.stack.configure({"RESET": "in the middle"})
    call: dict[str, Any] = {"name": "list_repos", "arguments": {"org": "acme-corp"}}
    called = done(client.post(path, json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}))
    assert "5 repositories" in called.text


def test_the_trail_is_searched_by_each_of_its_indexes(alice: httpx.Client, demo: DemoEnv) -> None:
    for of in ({}, {"agent_account_id": demo.AGENT_ID}, {"user_id": demo.USER_ID}, {"server_id": "demo"}):
        done(alice.get("/api/v1/audit-events", params=of))


def test_the_trail_is_followed(alice: httpx.Client) -> None:
    begun = done(alice.get("/api/v1/audit-events/feed")).json()
    done(alice.get("/api/v1/audit-events/feed", params={"cursor": begun["cursor"]}))


@pytest.mark.parametrize("path", ["/api/v1/delegations", "/api/v1/servers/demo-oauth/connection", "/api/v1/me"])
def test_an_agents_token_is_known_everywhere_and_manages_nothing(server: Deployment, path: str) -> None:
    assert caller(server, token=agent_token(server)).get(path).status_code == 403


def test_a_connection_that_its_user_denies_is_in_the_trail(server: Deployment, demo: DemoEnv) -> None:
    bob = caller(server, api_key=demo.BOB_API_KEY)
    begun = done(bob.post("/api/v1/servers/demo-oauth/connect", json={})).json()
    denied = httpx.post(begun["authorization_url"], data={"decision": "deny"})
    assert denied.status_code == 303, denied.text
    assert "Connected" not in bob.get(denied.headers["location"]).text
    events = done(caller(server, api_key=demo.ALICE_API_KEY).get("/api/v1/audit-events")).json()
    assert {"action": "connection.create", "outcome": "failed"}.items() <= events[0].items(), events[0]


# Rights that are needed only after events that no test here causes.
NOT_SEEN_HERE = {
    # A signing key is sealed again only after the vault's root key was changed.
    ("token", "kms:GenerateDataKey", "SIGNING_KEYS"),
    ("token", "dynamodb:PutItem", "SIGNING_KEYS"),
    # A used assertion is read to distinguish a replay from a race. Clients here have secrets.
    ("token", "dynamodb:BatchGetItem", "ASSERTION"),
    ("token", "dynamodb:PutItem", "ASSERTION"),
    # A client that its authorization server has forgotten is deleted.
    ("grants", "dynamodb:DeleteItem", "SERVER"),
    # Entries for which the deletion of a user in very many groups has no room are removed after it.
    ("grants", "dynamodb:ConditionCheckItem", "DELETED"),
    # The access tokens of the demo's authorization server outlive the test, so none is refreshed.
    ("proxy", "kms:GenerateDataKey", "USER"),
}


def granted(statements: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Each action on each kind of partition in a policy."""
    return {
        (statement["Action"], pattern.split("#")[0])
        for statement in statements
        for operator, keys in statement.get("Condition", {}).items()
        if operator.endswith("StringLike")
        for patterns in keys.values()
        for pattern in patterns
    }


def test_no_function_may_do_what_nothing_needs(unchanged_server: Deployment) -> None:
    """Least privilege. Rights that no test of this session has used (this is the last of them) are listed above, with
    the reasons."""
    unused = {
        (name, action, kind)
        for name in FUNCTIONS
        for action, kind in granted(unchanged_server.stack.synthesized.statements(name))
        if not unchanged_server.stack.guards[name].allowed[action, kind]
    }
    for wrong, why in ((unused - NOT_SEEN_HERE, "granted, and used by nothing"), (NOT_SEEN_HERE - unused, "used after all")):
        assert not wrong, "\n".join([f"{why}:", *map(str, sorted(wrong))])
