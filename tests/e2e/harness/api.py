"""A small client of the public API: an httpx client for each caller, and the few calls that many tests make."""

from __future__ import annotations

from typing import Any

import httpx

from harness.demo_env import DemoEnv
from harness.secrets_ledger import LEDGER
from harness.server import Server

USER_ID_TYPE = "urn:runlayer:token-type:user-id"
USER_EMAIL_TYPE = "urn:runlayer:token-type:user-email"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

_TIMEOUT_SECONDS = 30


def caller(server: Server, *, api_key: str | None = None, token: str | None = None) -> httpx.Client:
    """A client that presents an API key, a bearer token, or nothing."""
    headers = {}
    if api_key is not None:
        headers["x-runlayer-api-key"] = api_key
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return httpx.Client(
        base_url=server.url,
        headers=headers,
        timeout=_TIMEOUT_SECONDS,
        verify=False,  # plain HTTP: loading the CA certificates for each client would take most of the time
        event_hooks={"response": [LEDGER.observe]},
    )


def done(response: httpx.Response) -> httpx.Response:
    """The response, if it is a success. Otherwise fails with the server's text."""
    assert response.is_success, (
        f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
    )
    return response


def request_token(server: Server, **parameters: str) -> httpx.Response:
    """POSTs the parameters to the token endpoint, as Support Bot unless they name another client."""
    demo = server.demo
    form = {
        "grant_type": "client_credentials",
        "client_id": demo.CLIENT_ID,
        "client_secret": demo.CLIENT_SECRET,
    } | parameters
    return caller(server).post("/api/v1/oauth/token", data=form)


def agent_token(server: Server, **parameters: str) -> str:
    """Support Bot's own (M2M) token."""
    return done(request_token(server, **parameters)).json()["access_token"]


def obo_token(server: Server, user_id: str) -> str:
    """Support Bot's token on behalf of a user."""
    return agent_token(server, actor_token=user_id, actor_token_type=USER_ID_TYPE)


def call_tool(client: httpx.Client, server_id: str, tool_name: str, **arguments: Any) -> httpx.Response:
    return client.post(
        f"/api/v1/proxy/{server_id}/tools", json={"tool_name": tool_name, "arguments": arguments}
    )


def list_repos(client: httpx.Client, demo: DemoEnv) -> httpx.Response:
    """The demo tool that everyone may call."""
    return call_tool(client, demo.SERVER_ID, "list_repos", org="acme-corp")


def list_channels(client: httpx.Client, demo: DemoEnv) -> httpx.Response:
    """The tool of the OAuth-protected demo server that answers whose credentials it got."""
    return call_tool(client, demo.SLACK_SERVER_ID, "list_channels")


def text_of(result: httpx.Response) -> str:
    """The text of a successful `CallToolResult`."""
    body = done(result).json()
    assert not body.get("isError"), body
    return "\n".join(block["text"] for block in body["content"] if block["type"] == "text")


def all_pages(client: httpx.Client, path: str, **query: str) -> list[dict[str, Any]]:
    """A whole list: follows `Link: <…>; rel="next"` to the end."""
    items, response = [], done(client.get(path, params=query))
    while True:
        items += response.json()
        if "next" not in response.links:
            return items
        response = done(client.get(response.links["next"]["url"]))


def grants_path(demo: DemoEnv) -> str:
    return f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/session-grants"


def delegations_path(demo: DemoEnv) -> str:
    return f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/delegations"


def create_grant(client: httpx.Client, demo: DemoEnv, *, shared: bool = False) -> dict[str, Any]:
    """The caller's session grant for the OAuth-protected demo server."""
    body = {"server_id": demo.SLACK_SERVER_ID, "shared": shared}
    return done(client.post(grants_path(demo), json=body)).json()


def toggle_grant(client: httpx.Client, demo: DemoEnv) -> dict[str, Any]:
    return done(client.post(f"{grants_path(demo)}/toggle", json={"server_id": demo.SLACK_SERVER_ID})).json()
