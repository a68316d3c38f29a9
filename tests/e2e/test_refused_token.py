"""The MCP server refuses a token before it expires. It is refreshed, and the call is repeated."""

from __future__ import annotations

import httpx
import pytest
from harness.api import caller, done
from harness.connecting import CHAT, acting_as, connect, connection, register_chat, whoami
from harness.demo_env import DemoEnv
from harness.protected import Protected
from harness.refusals import assert_refusal
from harness.server import Server


@pytest.fixture
def alice(server: Server, demo: DemoEnv, protected: Protected) -> httpx.Client:
    register_chat(server, protected)
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    connect(alice, "alice")
    return alice


def test_a_token_that_is_refused_before_its_time_is_refreshed_once_and_the_call_succeeds(
    alice: httpx.Client, protected: Protected
) -> None:
    assert acting_as(whoami(alice)) == "alice"
    before = protected.state()["mcp_requests"]
    protected.change(refuse_issued_tokens=True)

    assert acting_as(whoami(alice)) == "alice"
    after = protected.state()["mcp_requests"]
    assert protected.refreshes() == {"ok": 1}
    assert after["refused"] - before["refused"] == 1
    assert after["accepted"] - before["accepted"] == 1, "the tool has run once"

    assert acting_as(whoami(alice)) == "alice"
    assert protected.refreshes() == {"ok": 1}


def test_listing_tools_gets_over_a_refused_token_too(alice: httpx.Client, protected: Protected) -> None:
    protected.change(refuse_issued_tokens=True)
    listed = done(alice.get(f"/api/v1/proxy/{CHAT}/tools")).json()["tools"]
    assert [tool["name"] for tool in listed] == ["whoami", "list_channels", "post_message"]
    assert protected.refreshes() == {"ok": 1}


def test_a_server_that_refuses_every_token_costs_one_refresh_and_is_not_asked_for_ever(
    alice: httpx.Client, protected: Protected
) -> None:
    protected.change(refuse_all_tokens=True)
    for _ in range(5):
        assert_refusal(whoami(alice), 401, "session_expired", "OAuth session expired", reason="session_expired")
    assert protected.refreshes() == {"ok": 1}
    assert protected.families("alice") == [(True, 1)]

    protected.change(refuse_all_tokens=False)
    assert acting_as(whoami(alice)) == "alice", "nothing was lost by it"
    assert connection(alice)["status"] == "connected"
