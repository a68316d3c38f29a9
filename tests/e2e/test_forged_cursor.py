"""Cursors are opaque but not secret. A made-up one finds nothing else, and costs nothing."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from harness.api import agent_token, caller, done, list_repos
from harness.demo_env import DemoEnv
from harness.server import Server

# Version 7 UUIDs of 1970 and of the year 10889, and one of version 4, which contains no time.
LONG_AGO = "00000000-0000-7000-8000-000000000000"
FAR_AHEAD = "ffffffff-ffff-7fff-bfff-ffffffffffff"
TIMELESS = "ffffffff-ffff-4fff-bfff-ffffffffffff"


@pytest.mark.parametrize("by_agent", [True, False], ids=["an agent's", "all"])
@pytest.mark.parametrize(("position", "shown"), [(LONG_AGO, False), (FAR_AHEAD, True), (TIMELESS, True)])
def test_an_audit_cursor_from_outside_the_range_is_answered_at_once(
    server: Server, demo: DemoEnv, position: str, shown: bool, by_agent: bool
) -> None:
    call = done(list_repos(caller(server, token=agent_token(server)), demo)).headers["x-request-id"]
    cursor = urlsafe_b64encode(position.encode()).decode().rstrip("=")
    filter = {"agent_account_id": demo.AGENT_ACCOUNT_ID} if by_agent else {}
    alice = caller(server, api_key=demo.ALICE_API_KEY)

    events = done(alice.get("/api/v1/audit-events", params={"cursor": cursor, **filter})).json()

    assert (call in [event["request_id"] for event in events]) is shown
