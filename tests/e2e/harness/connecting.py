"""Connecting users to the protected MCP server, without a browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from harness.api import call_tool, caller, done, text_of
from harness.protected import LONG, SHORT, Protected
from harness.secrets_ledger import LEDGER
from harness.server import Server
from harness.waiting import wait_until

CHAT = "chat"
CALLBACK_PATH = "/api/v1/oauth/callback"
_MOST_STEPS = 20

_POLICY = f"""permit(principal, action == Action::"call_tool", resource)
when {{ resource in Server::"{CHAT}" }};"""


def register_chat(server: Server, protected: Protected, **more: Any) -> None:
    """Alice registers the protected server as `chat`, and permits everyone to call it."""
    alice = caller(server, api_key=server.demo.ALICE_API_KEY)
    body = {"id": CHAT, "name": "Chat", "url": protected.mcp, "auth": "oauth"}
    done(alice.post("/api/v1/servers", json=body | more))
    done(alice.post("/api/v1/policies", json={"name": "Everybody may chat", "text": _POLICY}))


def begin(user: httpx.Client, *, scope: str | None = None) -> str:
    """Begins to connect the user. Returns the URL to open in a browser."""
    body = {} if scope is None else {"json": {"scope": scope}}
    begun = done(user.post(f"/api/v1/servers/{CHAT}/connect", **body)).json()
    assert begun.keys() == {"authorization_url", "expires_in"}
    assert begun["expires_in"] == 600
    return begun["authorization_url"]


def answer_consent(authorization_url: str, login: str, *, answer: str = "allow") -> str:
    """Acts as a user at the authorization server: signs in and answers. Returns the address to which the browser is
    sent."""
    with httpx.Client(verify=False) as browser:
        response = browser.get(authorization_url)
        for _ in range(_MOST_STEPS):
            if response.is_redirect:
                to = urljoin(str(response.url), response.headers["location"])
                if urlsplit(to).path == CALLBACK_PATH:
                    return to
                response = browser.get(to)
            elif 'id="sign-in"' in response.text:
                response = browser.post(response.url, data={"login": login})
            elif 'id="allow"' in response.text:
                response = browser.post(response.url, data={"answer": answer})
            else:
                break
    raise AssertionError(f"the authorization server answers {response.status_code} {response.text}")


def come_back(browser: httpx.Client, callback: str) -> httpx.Response:
    """Opens the callback at the process that the client uses, whatever the deployment's address is."""
    LEDGER.add_callback(callback)
    parts = urlsplit(callback)
    return browser.get(f"{parts.path}?{parts.query}")


def connect(user: httpx.Client, login: str, *, scope: str | None = None) -> None:
    """The complete way of a user who has the account `login` at the authorization server."""
    page = done(come_back(user, answer_consent(begin(user, scope=scope), login)))
    assert "Connected" in page.text


def connection(user: httpx.Client) -> dict[str, Any]:
    return done(user.get(f"/api/v1/servers/{CHAT}/connection")).json()


def wait_until_it_expires_within(user: httpx.Client, *, seconds: float) -> None:
    """Waits until the user's access token is valid for at most this long."""
    then = datetime.fromisoformat(connection(user)["expires_at"]) - timedelta(seconds=seconds)
    wait_until(f"the access token expires within {seconds} s", lambda: datetime.now(UTC) > then)


def connect_until_expired(user: httpx.Client, login: str, protected: Protected) -> None:
    """Connects the user with an access token that has already expired. Later ones last."""
    protected.change(access_token_ttl=SHORT)
    connect(user, login)
    protected.change(access_token_ttl=LONG)
    wait_until_it_expires_within(user, seconds=0)


def whoami(client: httpx.Client) -> httpx.Response:
    return call_tool(client, CHAT, "whoami")


def acting_as(result: httpx.Response) -> str:
    """The user as whom a call of `whoami` arrived at the protected server."""
    name = done(result).json()["structuredContent"]["acting_as"]
    assert text_of(result) == f"acting as {name}"
    return name


def grant(user: httpx.Client, agent_account_id: str, *, shared: bool = False) -> dict[str, Any]:
    path = f"/api/v1/agent-accounts/{agent_account_id}/session-grants"
    return done(user.post(path, json={"server_id": CHAT, "shared": shared})).json()
