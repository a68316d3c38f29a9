"""The proxy's answers are sent as they come, and end before Lambda would cut them off."""

from __future__ import annotations

import json

from deployed import Deployed, bearer, call_tool
from harness.gateway import Request, answer, is_streamed, rest_api
from harness.runtime_api import Invocation
from harness.waiting import wait_until
from support.organization import MODERN, MODERN_TOOLS
from support.upstreams import Upstream
from support.wire import MODERN_VERSION

# A minute, in steps that are reported: much longer than a test waits.
_LONG = {"steps": 600, "pauseMs": 100}


def _slow_call(deployed: Deployed, arguments: dict[str, int]) -> Request:
    meta = {
        "progressToken": "p",
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "lambda", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "slow", "arguments": arguments, "_meta": meta}
    headers = bearer(deployed.organization.agent_token) | {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN_VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "slow",
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return Request.json(f"/api/v1/proxy/{MODERN}/mcp", body, headers)


def _events(body: bytes) -> list[dict]:
    lines = body.decode().splitlines()
    return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]


def _until(invocation: Invocation, wanted: bytes) -> bytes:
    """The answer up to the part with these bytes, as soon as that has come."""
    seen = b""
    for _, part in invocation.parts():
        seen += part
        if wanted in seen:
            return seen
    raise AssertionError(f"ended without {wanted!r}: {seen!r} {invocation.error}")


def test_an_event_of_a_tool_that_takes_a_minute_is_there_at_once(deployed: Deployed, modern: Upstream) -> None:
    with deployed.start("proxy") as proxy:
        streamed = proxy.invoke(rest_api(_slow_call(deployed, _LONG)), seconds=120)
        seen = _until(streamed, b"notifications/progress")
        assert is_streamed(streamed)
        assert streamed.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
        prelude, _, events = seen.partition(b"\0" * 8)
        head = json.loads(prelude)
        assert head["statusCode"] == 200
        assert head["headers"]["content-type"].startswith("text/event-stream")
        assert _events(events)[0]["params"]["progress"] == 1
    wait_until("the server has seen that its caller is gone", lambda: "cancelled" in modern.output.text())


def test_a_stream_holds_every_event_in_order_and_then_the_result(deployed: Deployed) -> None:
    call = _slow_call(deployed, {"steps": 4, "pauseMs": 1})
    whole = answer(deployed.function("proxy").invoke(rest_api(call)))
    *progress, result = _events(whole.body)
    assert [one["params"]["progress"] for one in progress] == [1, 2, 3, 4]
    assert result["result"]["content"][0]["text"] == "took 4 steps"


def test_an_answer_longer_than_a_buffered_one_may_be_arrives_whole(deployed: Deployed) -> None:
    """A buffered answer is limited to 6 MB."""
    size = 7_000_000
    token = bearer(deployed.organization.alice_token)
    called = deployed.ask("proxy", call_tool(MODERN_TOOLS, "large", token, bytes=size))
    assert called.status == 200, called.body[:500]
    assert len(called.json()["content"][0]["text"]) == size


def test_a_call_that_would_outlive_the_invocation_is_answered_before_its_deadline(deployed: Deployed) -> None:
    slow = call_tool(MODERN, "slow", bearer(deployed.organization.agent_token), **_LONG)
    late = answer(deployed.function("proxy").invoke(rest_api(slow), seconds=4))
    assert late.status == 504, late.body


def test_a_stream_that_would_outlive_the_invocation_ends_with_an_error_in_the_protocol(deployed: Deployed) -> None:
    late = answer(deployed.function("proxy").invoke(rest_api(_slow_call(deployed, _LONG)), seconds=4))
    *_, last = _events(late.body)
    assert last["id"] == 1
    assert last["error"]["code"] == 504, last
