"""People sign in, and their apps with them, behind the same guard."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from emulated.deployment import Deployment
from emulated.organization import allowed
from emulated.person import CALLBACK, Person, sent_to
from harness.api import call_tool, caller, done, list_repos
from harness.demo_env import DemoEnv
from harness.secrets_ledger import LEDGER

SESSIONS = "/api/v1/me/browser-sessions"
URI = "https://app.example.com/callback"


@pytest.fixture
def alice(server: Deployment, demo: DemoEnv) -> httpx.Client:
    return caller(server, api_key=demo.ALICE_API_KEY)


@pytest.fixture
def bob(server: Deployment) -> Person:
    return Person(server, "bob@example.com").sign_in()


@pytest.fixture
def bobs_key(server: Deployment, demo: DemoEnv) -> httpx.Client:
    return caller(server, api_key=demo.BOB_API_KEY)


def registered(server: Deployment) -> str:
    metadata = {"client_name": "A client", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    return caller(server).post("/register", json=metadata).json()["client_id"]


def tokens(person: Person, client_id: str, **asked: str) -> dict[str, Any]:
    answer = person.redeem(client_id, person.code(client_id, CALLBACK, **asked), CALLBACK)
    given = done(answer).json()
    for name in given.keys() & {"access_token", "refresh_token"}:
        LEDGER.add(name, given[name])
    return given


def test_a_person_signs_in_by_the_organizations_provider_and_out_at_both(server: Deployment, bobs_key: httpx.Client) -> None:
    bob = Person(server, "bob@example.com")
    assert "can act as you now" not in bob.home()
    bob.sign_in()
    assert "bob@example.com" in bob.home()
    assert len(done(bobs_key.get(SESSIONS)).json()) == 1
    # Another process opens what the first has sealed.
    server.stack.configure({"RESET": "before signing out"})
    out = sent_to(bob.send(bob.open("/"), "/sign-out"))
    assert out.startswith(f"{server.provider.url}/end?")
    assert done(bobs_key.get(SESSIONS)).json() == []
    assert "bob@example.com" not in bob.home()


def test_who_is_new_becomes_a_user(server: Deployment, alice: httpx.Client) -> None:
    Person(server, "dora@example.com").sign_in()
    assert "dora@example.com" in [user["email"] for user in done(alice.get("/api/v1/users")).json()]


def test_the_provider_and_the_person_end_sessions(server: Deployment, bob: Person, bobs_key: httpx.Client) -> None:
    logout = {"logout_token": server.provider.logout_token("bob@example.com")}
    answered = caller(server).post("/sign-in/logout/acme", data=logout)
    assert answered.status_code == 200, server.stack.logs()[-3000:]
    assert done(bobs_key.get(SESSIONS)).json() == []
    bob.sign_in()
    [session] = done(bobs_key.get(SESSIONS)).json()
    done(bobs_key.delete(f"{SESSIONS}/{session['id']}"))
    assert "bob@example.com" not in bob.home()


def test_a_client_registers_is_allowed_calls_refreshes_and_is_ended(
    server: Deployment, demo: DemoEnv, bob: Person, bobs_key: httpx.Client
) -> None:
    client_id = registered(server)
    # Another process knows whom the first has registered.
    server.stack.configure({"RESET": "after registering"})
    given = tokens(bob, client_id, resource=f"{server.url}/api/v1/proxy/demo/mcp")
    assert done(list_repos(caller(server, token=given["access_token"]), demo))
    again = done(bob.refresh(client_id, given["refresh_token"])).json()
    assert done(list_repos(caller(server, token=again["access_token"]), demo))
    done(caller(server).post("/api/v1/oauth/revoke", data={"token": again["access_token"], "client_id": client_id}))
    assert list_repos(caller(server, token=again["access_token"]), demo).status_code == 401
    [authorization] = done(bobs_key.get("/api/v1/authorizations")).json()
    done(bobs_key.delete(f"/api/v1/authorizations/{authorization['id']}"))
    assert bob.refresh(client_id, again["refresh_token"]).json()["error"] == "invalid_grant"
    assert list_repos(caller(server, token=given["access_token"]), demo).status_code == 401


def test_an_app_that_the_person_does_not_allow_is_told_and_the_trail_too(
    server: Deployment, alice: httpx.Client, bob: Person
) -> None:
    back = sent_to(bob.press(bob.asked_by(registered(server), CALLBACK), "deny"))
    assert "error=access_denied" in back
    events = done(alice.get("/api/v1/audit-events")).json()
    assert {"action": "authorization.create", "outcome": "denied"}.items() <= events[0].items(), events[0]


def test_a_code_that_comes_twice_ends_what_it_gave(server: Deployment, demo: DemoEnv, bob: Person) -> None:
    client_id = registered(server)
    code = bob.code(client_id, CALLBACK)
    given = done(bob.redeem(client_id, code, CALLBACK)).json()
    assert bob.redeem(client_id, code, CALLBACK).json()["error"] == "invalid_grant"
    assert list_repos(caller(server, token=given["access_token"]), demo).status_code == 401


def test_an_app_that_manages_is_known_by_every_function(
    server: Deployment, demo: DemoEnv, bob: Person, alice: httpx.Client
) -> None:
    new = {"name": "Desk", "redirect_uris": [URI]}
    client_id = done(alice.post("/api/v1/apps", json=new)).json()["client_id"]
    code = bob.code(client_id, URI, resource=f"{server.url}/api/v1", scope="manage")
    given = done(bob.redeem(client_id, code, URI)).json()
    app = caller(server, token=given["access_token"])
    made = done(app.post(f"/api/v1/agent-accounts/{demo.AGENT_ID}/delegations")).json()
    assert made["is_active"]
    for path in ("/api/v1/me", "/api/v1/delegations", "/api/v1/authorizations"):
        done(app.get(path))
    grants = f"/api/v1/agent-accounts/{demo.AGENT_ID}/session-grants"
    done(app.get(grants))
    agent = {
        "grant_type": "client_credentials",
        "client_id": demo.CLIENT_ID,
        "client_secret": demo.CLIENT_SECRET,
        "actor_token": given["access_token"],
        "actor_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    done(caller(server).post("/api/v1/oauth/token", data=agent))
    [authorization] = done(alice.get(f"/api/v1/users/{demo.BOB_ID}/authorizations")).json()
    done(alice.delete(f"/api/v1/users/{demo.BOB_ID}/authorizations/{authorization['id']}"))
    assert app.get("/api/v1/me").status_code == 401


def test_an_admin_registers_changes_blocks_and_deletes_an_app(
    server: Deployment, demo: DemoEnv, alice: httpx.Client, bob: Person
) -> None:
    new = {"name": "Payroll", "redirect_uris": [URI], "auth_method": "client_secret"}
    made = done(alice.post("/api/v1/apps", json=new)).json()
    one = f"/api/v1/apps/{made['client_id']}"
    done(alice.patch(one, json={"name": "Pay"}))
    secret = done(alice.post(f"{one}/secret")).json()["client_secret"]
    assert [app["name"] for app in done(alice.get("/api/v1/apps")).json()] == ["Pay"]
    code = bob.code(made["client_id"], URI)
    given = done(bob.redeem(made["client_id"], code, URI, client_secret=secret)).json()
    app = caller(server, token=given["access_token"])
    assert done(list_repos(app, demo))
    for block in ({"client_id": made["client_id"]}, {"host": "app.example.com"}):
        blocked = done(alice.post("/api/v1/app-blocks", json=block)).json()
        assert list_repos(app, demo).status_code == 401
        assert len(done(alice.get("/api/v1/app-blocks")).json()) == 1
        done(alice.delete(f"/api/v1/app-blocks/{blocked['id']}"))
        assert done(list_repos(app, demo))
    done(caller(server, token=demo.ADMIN_TOKEN).delete(one))
    assert list_repos(app, demo).status_code == 401


def test_a_person_connects_on_a_page_of_theirs(server: Deployment, demo: DemoEnv, alice: httpx.Client, bob: Person) -> None:
    here = demo.DEMO_ISSUER.removesuffix("/demo/issuer")
    body = {"id": "chat", "name": "Chat", "url": f"{here}/demo/oauth-mcp", "auth": "oauth"}
    done(alice.post("/api/v1/servers", json=body))
    text = 'permit(principal, action == Action::"call_tool", resource in Server::"chat");'
    done(alice.post("/api/v1/policies", json={"name": "Chat", "text": text}))
    page = bob.http.get(f"{server.url}/connect/chat")
    provider = sent_to(bob.press(page))
    connected = bob.http.get(allowed(provider, "bob", demo.DEMO_PASSWORD), follow_redirects=True)
    assert "Connected" in connected.text
    called = call_tool(caller(server, api_key=demo.BOB_API_KEY), "chat", "list_channels")
    assert "bob@example.com" in done(called).json()["content"][0]["text"]
