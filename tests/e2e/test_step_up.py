"""A tool needs a scope that the session lacks. Its owner is told which scope, and where to get it."""

from __future__ import annotations

import httpx
from harness.api import call_tool, caller, done, obo_token
from harness.connecting import CHAT, acting_as, connect, connection, grant, register_chat, whoami
from harness.demo_env import DemoEnv
from harness.protected import Protected
from harness.server import Server


def post_message(client: httpx.Client) -> httpx.Response:
    return call_tool(client, CHAT, "post_message", channel="general", text="hello")


def test_a_missing_scope_is_named_with_the_way_to_get_it_and_connecting_with_it_keeps_the_others(
    server: Server, demo: DemoEnv, protected: Protected
) -> None:
    register_chat(server, protected)
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    bot_for_alice = caller(server, token=obo_token(server, demo.USER_ID))
    connect(alice, "alice")
    grant(alice, demo.AGENT_ACCOUNT_ID)
    assert acting_as(whoami(bot_for_alice)) == "alice"

    for client in (alice, bot_for_alice):
        refused = post_message(client)
        body = refused.json()
        assert (refused.status_code, body["error"]) == (403, "insufficient_scope")
        assert body["scope"] == "chat:write"
        assert "chat:write" in body["detail"]
        assert f"/api/v1/servers/{CHAT}/connect" in body["detail"]
    assert protected.refreshes() == {}, "a refresh would not bring a scope"

    connect(alice, "alice", scope="chat:write")
    assert set(connection(alice)["scope"].split()) == {"chat:read", "chat:write"}
    for client in (alice, bot_for_alice):
        posted = done(post_message(client)).json()
        assert posted["structuredContent"] == {"acting_as": "alice", "channel": "general"}
        assert acting_as(whoami(client)) == "alice"

    # The wider scope outlives its first access token.
    protected.change(refuse_issued_tokens=True)
    done(post_message(bot_for_alice))
    assert protected.refreshes() == {"ok": 1}
    assert set(connection(alice)["scope"].split()) == {"chat:read", "chat:write"}


def test_connecting_again_without_a_scope_does_not_lose_one(
    server: Server, demo: DemoEnv, protected: Protected
) -> None:
    register_chat(server, protected)
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    connect(alice, "alice", scope="chat:write")
    connect(alice, "alice")
    assert set(connection(alice)["scope"].split()) == {"chat:read", "chat:write"}
    done(post_message(alice))
