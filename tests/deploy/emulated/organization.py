"""The demo organization in a deployment, made over the management API by its users.

Their MCP servers, sign-in issuer and authorization server are the local server's, which is another party here.
"""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from harness.api import done
from harness.demo_env import DemoEnv

PEOPLE = ("alice", "bob", "carol")
_TIMEOUT_SECONDS = 60


def email(name: str) -> str:
    return f"{name}@example.com"


class Organization:
    def __init__(self, url: str, demo: DemoEnv) -> None:
        self._url = url
        self._demo = demo
        self._users: dict[str, dict[str, str]] = {}

    def make(self, admin_key: str) -> dict[str, str]:
        """Makes all of it. The first admin is Alice. Returns the cookbook's variables."""
        alice = self._client({"x-runlayer-api-key": admin_key})
        for name in PEOPLE[1:]:
            done(alice.post("/api/v1/users", json={"email": email(name), "name": name.capitalize()}))
        for name in PEOPLE:
            self._users[name] = self._signed_in(name)
        account = done(alice.post("/api/v1/agent-accounts", json={"name": "Support Bot"})).json()
        for name in PEOPLE:
            done(self._as(name).post(f"/api/v1/agent-accounts/{account['id']}/delegations"))
        self._register_servers(alice)
        self._write_policies(alice, account["id"])
        for name in ("alice", "carol"):
            self._connect(name)
        alice_id, alice_token = self._users["alice"]["id"], self._users["alice"]["token"]
        return {
            "RUNLAYER_URL": self._url,
            "CLIENT_ID": account["client_id"],
            "CLIENT_SECRET": account["client_secret"],
            "AGENT_ACCOUNT_ID": account["id"],
            "AGENT_ID": account["id"],
            "SERVER_ID": "demo",
            "SLACK_SERVER_ID": "demo-oauth",
            "USER_ID": alice_id,
            "API_KEY": self._users["alice"]["key"],
            "ALICE_API_KEY": self._users["alice"]["key"],
            "USER_TOKEN": alice_token,
            "ADMIN_TOKEN": alice_token,
            "USER_ACCESS_TOKEN": alice_token,
            "BOB_ID": self._users["bob"]["id"],
            "BOB_API_KEY": self._users["bob"]["key"],
            "CAROL_ID": self._users["carol"]["id"],
            "CAROL_API_KEY": self._users["carol"]["key"],
            "DEMO_ISSUER": self._demo.DEMO_ISSUER,
            "DEMO_PASSWORD": self._demo.DEMO_PASSWORD,
            "DEMO_EMAIL": email("alice"),
        }

    def _client(self, headers: dict[str, str]) -> httpx.Client:
        return httpx.Client(base_url=self._url, headers=headers, timeout=_TIMEOUT_SECONDS, verify=False)

    def _as(self, name: str) -> httpx.Client:
        return self._client({"x-runlayer-api-key": self._users[name]["key"]})

    def _signed_in(self, name: str) -> dict[str, str]:
        """Signs in at the issuer, and makes an API key."""
        form = {"email": email(name), "password": self._demo.DEMO_PASSWORD}
        token = done(httpx.post(f"{self._demo.DEMO_ISSUER}/token", data=form)).json()["access_token"]
        user = self._client({"authorization": f"Bearer {token}"})
        me = done(user.get("/api/v1/me")).json()
        key = done(user.post("/api/v1/api-keys", json={"name": "demo"})).json()["key"]
        return {"id": me["id"], "token": token, "key": key}

    def _register_servers(self, alice: httpx.Client) -> None:
        here = self._demo.DEMO_ISSUER.removesuffix("/demo/issuer")
        servers = (
            {"id": "demo", "name": "Demo repositories", "url": f"{here}/demo/mcp", "auth": "none"},
            {"id": "demo-oauth", "name": "Demo chat (OAuth)", "url": f"{here}/demo/oauth-mcp", "auth": "oauth"},
        )
        for server in servers:
            done(alice.post("/api/v1/servers", json=server))

    def _write_policies(self, alice: httpx.Client, bot: str) -> None:
        servers = 'when { resource in Server::"demo" || resource in Server::"demo-oauth" };'
        call = 'action == Action::"call_tool"'
        policies = {
            "Support Bot may use the demo servers": f'permit(principal == Agent::"{bot}", {call}, resource)\n{servers}',
            "People may use the demo servers": f"permit(principal is User, {call}, resource)\n{servers}",
            "Only admins may delete": f'forbid(principal is User, {call}, resource == Tool::"demo/delete_repo")\n'
            'unless { principal.role == "admin" };',
        }
        for name, text in policies.items():
            done(alice.post("/api/v1/policies", json={"name": name, "text": text}))

    def _connect(self, name: str) -> None:
        """The complete way through the demo's authorization server, as a user would click it."""
        user = self._as(name)
        begun = done(user.post("/api/v1/servers/demo-oauth/connect", json={})).json()
        come_back(user, allowed(begun["authorization_url"], name, self._demo.DEMO_PASSWORD))


def allowed(authorization_url: str, name: str, password: str) -> str:
    """Signs in at the demo's authorization server and allows everything. Returns the address to which the browser is
    sent."""
    page = done(httpx.get(authorization_url))
    scopes = re.findall(r'type="checkbox" name="([^"]+)"', page.text)
    answer = {"user": email(name), "password": password, "decision": "allow"}
    agreed = httpx.post(authorization_url, data=answer | dict.fromkeys(scopes, "yes"))
    assert agreed.status_code == 303, agreed.text
    return agreed.headers["location"]


def come_back(user: httpx.Client, callback: str) -> None:
    assert "Connected" in done(user.get(callback)).text


def write_demo_env(file: Path, variables: dict[str, str]) -> None:
    file.write_text("".join(f"export {name}='{value}'\n" for name, value in variables.items()))
    file.chmod(0o600)
