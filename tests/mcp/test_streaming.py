"""A response streams through, and the server notices that a client disconnects."""

from __future__ import annotations

import time

import httpx

from harness.waiting import wait_until
from support.organization import HANDSHAKE, MODERN, Organization
from support.upstreams import Upstream
from support.wire import HandshakeSession, events, messages, modern_request

# A tool that takes this long, in steps that it reports.
_SLOW_SECONDS = 1.2
_STEPS = 4
_TOKEN = "p"


def _assert_streams(response: httpx.Response, began: float) -> None:
    assert response.headers["content-type"].startswith("text/event-stream")
    came = []
    for message in messages(response):
        came.append((message, time.monotonic() - began))
    progress = [message["params"]["progress"] for message, _ in came[:-1]]
    assert progress == list(range(1, _STEPS + 1))
    assert "result" in came[-1][0]
    first, last = came[0][1], came[-1][1]
    assert last >= _SLOW_SECONDS
    # The first of four steps takes a quarter of the time. On a busy machine it may come twice as late.
    assert first < last / 2, f"the first progress came after {first:.2f} s of {last:.2f} s"


def test_progress_of_a_slow_tool_comes_long_before_its_result(organization: Organization) -> None:
    pause = int(_SLOW_SECONDS / _STEPS * 1000)
    params = {"name": "slow", "arguments": {"steps": _STEPS, "pauseMs": pause}}
    began = time.monotonic()
    url, token = organization.url(MODERN), organization.agent_token
    with modern_request(url, token, "tools/call", params, progressToken=_TOKEN) as response:
        _assert_streams(response, began)


def test_progress_in_a_session_comes_long_before_the_result(organization: Organization) -> None:
    session = HandshakeSession.begin(organization.url(HANDSHAKE), organization.agent_token)
    arguments = {"duration": _SLOW_SECONDS, "steps": _STEPS}
    params = {
        "name": "trigger-long-running-operation",
        "arguments": arguments,
        "_meta": {"progressToken": _TOKEN},
    }
    began = time.monotonic()
    with session.request("tools/call", params) as response:
        _assert_streams(response, began)


def test_a_client_that_goes_away_cancels_the_call_at_a_stateless_server(
    organization: Organization, modern: Upstream
) -> None:
    """By the closed connection, which is how this revision cancels."""
    params = {"name": "slow", "arguments": {"steps": 600, "pauseMs": 100}}
    before = _cancellations(modern)
    url, token = organization.url(MODERN), organization.agent_token
    with modern_request(url, token, "tools/call", params, progressToken=_TOKEN) as response:
        next(events(response))
    wait_until("the server has seen that the client went away", lambda: _cancellations(modern) > before)


def test_a_handshake_client_that_goes_away_cancels_the_call_at_a_stateless_server(
    organization: Organization, modern: Upstream
) -> None:
    session = HandshakeSession.begin(organization.url(MODERN), organization.agent_token)
    params = {
        "name": "slow",
        "arguments": {"steps": 600, "pauseMs": 100},
        "_meta": {"progressToken": _TOKEN},
    }
    before = _cancellations(modern)
    with session.request("tools/call", params) as response:
        next(events(response))
    wait_until("the server has seen that the client went away", lambda: _cancellations(modern) > before)


def test_a_call_whose_client_went_away_is_in_the_trail(organization: Organization) -> None:
    """As a call whose tool may have run."""
    params = {"name": "slow", "arguments": {"steps": 600, "pauseMs": 100}}
    url, token = organization.url(MODERN), organization.agent_token
    with modern_request(url, token, "tools/call", params, progressToken=_TOKEN) as response:
        request_id = response.headers["x-request-id"]
        next(events(response))

    def event() -> dict[str, object] | None:
        found = organization.audit_events(server_id=MODERN)
        return next((event for event in found if event["request_id"] == request_id), None)

    recorded = wait_until("the call is in the trail", event)
    assert (recorded["action"], recorded["tool"]) == ("tool.call", "slow")
    assert recorded["outcome"] == "failed"
    assert "may have run" in str(recorded["detail"])


def _cancellations(modern: Upstream) -> int:
    return modern.output.text().count("slow: cancelled after step")
