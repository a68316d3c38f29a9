"""Policies decide about all of MCP, not only about tools, and the trail has each request."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.organization import (
    FORBIDDEN_RESOURCES,
    FORBIDDEN_TOOLS,
    HANDSHAKE,
    HANDSHAKE_TOOLS,
    MODERN,
    MODERN_TOOLS,
    Organization,
)
from support.wire import HandshakeSession, answer, modern_request

DEMO = "demo"
RESOURCES = {MODERN_TOOLS: "text://motto", HANDSHAKE_TOOLS: "demo://resource/static/document/features.md"}
PROMPTS = {
    MODERN_TOOLS: ("translate", "language"),
    HANDSHAKE_TOOLS: ("completable-prompt", "department"),
}
TEMPLATES = {
    MODERN_TOOLS: ("text://words/{language}", "language"),
    HANDSHAKE_TOOLS: ("demo://resource/dynamic/text/{resourceId}", "resourceId"),
}


def ask(
    organization: Organization, server: str, method: str, params: dict[str, Any], token: str | None = None
) -> tuple[dict[str, Any], httpx.Headers]:
    """The answer to a stateless client's request, and its headers."""
    url = organization.url(server)
    with modern_request(url, token or organization.agent_token, method, params) as response:
        return answer(response), response.headers


def assert_denied(answered: dict[str, Any], denied_for: str = "agent") -> None:
    error = answered["error"]
    assert (error["code"], error["message"]) == (403, "Policy denied")
    assert error["data"]["error"] == "access_denied"
    assert error["data"]["denied_for"] == denied_for


@pytest.fixture(params=[MODERN_TOOLS, HANDSHAKE_TOOLS])
def tools_only(request: pytest.FixtureRequest) -> str:
    """A server at which only tools are permitted."""
    return request.param


def test_permission_for_tools_is_none_for_resources_and_prompts(
    tools_only: str, organization: Organization
) -> None:
    prompt, argument = PROMPTS[tools_only]
    template, parameter = TEMPLATES[tools_only]
    uri = RESOURCES[tools_only]
    by_prompt = {"ref": {"type": "ref/prompt", "name": prompt}, "argument": {"name": argument, "value": ""}}
    by_template = {
        "ref": {"type": "ref/resource", "uri": template},
        "argument": {"name": parameter, "value": ""},
    }
    for method, params in [
        ("resources/read", {"uri": uri}),
        ("prompts/get", {"name": prompt, "arguments": {argument: "x"}}),
        ("completion/complete", by_prompt),
        ("completion/complete", by_template),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}}),
    ]:
        assert_denied(ask(organization, tools_only, method, params)[0])


def test_what_may_not_be_read_or_got_is_not_listed(tools_only: str, organization: Organization) -> None:
    for method, items in [("resources/list", "resources"), ("prompts/list", "prompts")]:
        answered, _ = ask(organization, tools_only, method, {})
        assert answered["result"][items] == []
    tools = ask(organization, tools_only, "tools/list", {})[0]["result"]["tools"]
    assert "echo" in {tool["name"] for tool in tools}


def test_a_session_opens_no_way_around_the_policies(tools_only: str, organization: Organization) -> None:
    session = HandshakeSession.begin(organization.url(tools_only), organization.agent_token)
    prompt, argument = PROMPTS[tools_only]
    for method, params in [
        ("resources/read", {"uri": RESOURCES[tools_only]}),
        ("resources/subscribe", {"uri": RESOURCES[tools_only]}),
        ("prompts/get", {"name": prompt, "arguments": {argument: "x"}}),
    ]:
        with session.request(method, params) as response:
            assert response.status_code == httpx.codes.OK
            assert_denied(answer(response))


def test_an_agent_that_acts_for_a_user_may_do_no_more_than_that_user(organization: Organization) -> None:
    delete = {"name": "delete_repo", "arguments": {"org": "acme-corp", "repo": "website"}}
    answered, _ = ask(organization, DEMO, "tools/call", delete, organization.bob_token)
    assert_denied(answered, denied_for="user")
    assert "result" in ask(organization, DEMO, "tools/call", delete, organization.alice_token)[0]

    def listed(token: str) -> set[str]:
        return {
            tool["name"] for tool in ask(organization, DEMO, "tools/list", {}, token)[0]["result"]["tools"]
        }

    assert listed(organization.alice_token) - listed(organization.bob_token) == {"delete_repo"}


STORIES = [
    ("server/discover", {}, "mcp.request", "method:server/discover", "allowed"),
    ("tools/list", {}, "tool.list", "method:tools/list", "allowed"),
    ("resources/list", {}, "mcp.request", "method:resources/list", "allowed"),
    ("resources/templates/list", {}, "mcp.request", "method:resources/templates/list", "allowed"),
    ("prompts/list", {}, "mcp.request", "method:prompts/list", "allowed"),
    ("tools/call", {"name": "echo", "arguments": {"text": "a secret"}}, "tool.call", "echo", "allowed"),
    (
        "tools/call",
        {"name": FORBIDDEN_TOOLS[MODERN], "arguments": {"bytes": 1}},
        "tool.call",
        "large",
        "denied",
    ),
    ("tools/call", {"name": "no such tool", "arguments": {}}, "tool.call", "no such tool", "failed"),
    ("resources/read", {"uri": "text://motto"}, "resource.read", "resource:text://motto", "allowed"),
    (
        "resources/read",
        {"uri": FORBIDDEN_RESOURCES[MODERN]},
        "resource.read",
        f"resource:{FORBIDDEN_RESOURCES[MODERN]}",
        "denied",
    ),
    (
        "prompts/get",
        {"name": "translate", "arguments": {"text": "a secret", "language": "greek"}},
        "prompt.get",
        "prompt:translate",
        "allowed",
    ),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/prompt", "name": "translate"},
            "argument": {"name": "language", "value": "a secret"},
        },
        "prompt.get",
        "prompt:translate",
        "allowed",
    ),
    ("extension/unknown", {}, "mcp.request", "method:extension/unknown", "failed"),
]


def test_each_request_is_in_the_trail_under_its_request_id(organization: Organization) -> None:
    """With the caller, the subject and the decision, and without the content."""
    expected = {}
    for method, params, action, subject, outcome in STORIES:
        _, headers = ask(organization, MODERN, method, params, organization.alice_token)
        expected[headers["x-request-id"]] = (action, subject, outcome)
    events = {event["request_id"]: event for event in organization.audit_events(server_id=MODERN)}
    told = {
        request_id: (event["action"], event["tool"] or event["subject"], event["outcome"])
        for request_id, event in events.items()
        if request_id in expected
    }
    assert told == expected
    demo = organization.server.demo
    for request_id in expected:
        event = events[request_id]
        assert (event["agent_account_id"], event["user_id"]) == (demo.AGENT_ACCOUNT_ID, demo.USER_ID)
        assert "a secret" not in str(event)


def test_what_a_session_does_is_in_the_trail(organization: Organization) -> None:

    def told() -> list[str]:
        bob = organization.server.demo.BOB_ID
        events = organization.audit_events(server_id=HANDSHAKE, user_id=bob)
        return [event["tool"] or event["subject"] for event in reversed(events)]

    before = len(told())
    session = HandshakeSession.begin(organization.url(HANDSHAKE), organization.bob_token)
    session.call("echo", message="hello")
    with session.listen():
        pass
    session.end()
    assert told()[before:] == [
        "method:initialize",
        "method:notifications/initialized",
        "echo",
        "method:GET",
        "method:DELETE",
    ]


def test_nothing_is_answered_without_a_credential(organization: Organization) -> None:
    for server in (MODERN, HANDSHAKE):
        url = organization.url(server)
        with modern_request(url, "no token", "server/discover") as response:
            assert response.status_code == httpx.codes.UNAUTHORIZED
        for method in ("GET", "DELETE", "POST"):
            response = httpx.request(method, url, json={} if method == "POST" else None)
            assert response.status_code == httpx.codes.UNAUTHORIZED
            assert response.headers["www-authenticate"].startswith("Bearer")
