"""The authorization server fails while it is needed. Its failure loses nothing; its refusal ends the session."""

from __future__ import annotations

from time import monotonic

import httpx
import pytest
from harness.api import caller
from harness.connecting import (
    CHAT,
    acting_as,
    answer_consent,
    begin,
    come_back,
    connect,
    connect_until_expired,
    connection,
    register_chat,
    wait_until_it_expires_within,
    whoami,
)
from harness.demo_env import DemoEnv
from harness.protected import LONG, Protected
from harness.refusals import assert_refusal
from harness.server import Server
from harness.waiting import wait_until

# For a machine that is also compiling.
MARGIN_SECONDS = 4
# Deputize waits 8 s for a provider.
DEADLINE_SECONDS = 8 + MARGIN_SECONDS
UNAVAILABLE = (
    "The authorization server of this MCP server is unavailable, and the OAuth session needs it; "
    "nothing was called, try again"
)


@pytest.fixture
def alice(server: Server, demo: DemoEnv, protected: Protected) -> httpx.Client:
    register_chat(server, protected)
    return caller(server, api_key=demo.ALICE_API_KEY)


def assert_unavailable(response: httpx.Response) -> int:
    """When to try again, in seconds."""
    assert_refusal(response, 503, "temporarily_unavailable", UNAVAILABLE, reason="provider_unavailable", safe_to_retry=True)
    return int(response.headers["retry-after"])


@pytest.mark.parametrize("fault", ["error_500", "garbage", "silence"])
def test_while_the_provider_is_down_calls_are_503_and_work_again_when_it_is_back(
    alice: httpx.Client, protected: Protected, fault: str
) -> None:
    connect_until_expired(alice, "alice", protected)
    protected.change(token_endpoint=fault)

    began = monotonic()
    retry_after = assert_unavailable(whoami(alice))
    assert monotonic() - began < DEADLINE_SECONDS
    assert protected.unseen(fault) == 1

    # It is not asked for a moment: a second call is answered without asking it again.
    began = monotonic()
    assert_unavailable(whoami(alice))
    assert monotonic() - began < retry_after
    assert protected.unseen(fault) == 1
    assert connection(alice)["status"] == "connected", "its owner has nothing to do"

    protected.change(token_endpoint="works")
    again = wait_until(
        "a call works again",
        lambda: answer if (answer := whoami(alice)).is_success else None,
        retry_after + MARGIN_SECONDS,
    )
    assert acting_as(again) == "alice"
    assert protected.refreshes() == {"ok": 1}
    assert protected.families("alice") == [(True, 1)]


def test_a_token_that_still_works_is_used_while_the_provider_is_down(
    alice: httpx.Client, protected: Protected
) -> None:
    """It should be refreshed in the last quarter of its life, here 2 s, and cannot be."""
    protected.change(access_token_ttl=8)
    connect(alice, "alice")
    protected.change(access_token_ttl=LONG, token_endpoint="error_500")
    wait_until_it_expires_within(alice, seconds=2)

    assert acting_as(whoami(alice)) == "alice"
    assert protected.unseen("error_500") == 1, "it was asked"
    assert acting_as(whoami(alice)) == "alice"
    assert protected.unseen("error_500") == 1, "and left alone then"


def test_a_grant_that_was_revoked_at_the_provider_is_expired_until_its_owner_connects_again(
    alice: httpx.Client, protected: Protected
) -> None:
    connect_until_expired(alice, "alice", protected)
    protected.change(revoke_account="alice")

    for _ in range(2):
        assert_refusal(whoami(alice), 401, "session_expired", "OAuth session expired", reason="session_expired")
    assert protected.refreshes() == {"invalid_grant": 1}, "it is not asked twice"
    assert connection(alice)["status"] == "expired"

    connect(alice, "alice")
    assert connection(alice)["status"] == "connected"
    assert acting_as(whoami(alice)) == "alice"


def test_a_provider_that_is_down_when_the_browser_comes_back_is_told_on_the_page(
    alice: httpx.Client, protected: Protected
) -> None:
    for fault in ("error_500", "garbage"):
        callback = answer_consent(begin(alice), "alice")
        protected.change(token_endpoint=fault)
        page = come_back(alice, callback)
        assert (page.status_code, page.headers["content-type"]) == (502, "text/html; charset=utf-8")
        assert "Not connected" in page.text
        assert "connect again" in page.text
        protected.change(token_endpoint="works")
    assert alice.get(f"/api/v1/servers/{CHAT}/connection").status_code == httpx.codes.NOT_FOUND
    connect(alice, "alice")
