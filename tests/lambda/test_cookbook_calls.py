"""The cookbook's first calls to the functions as deployed, through each kind of gateway."""

from __future__ import annotations

import pytest
from deployed import Deployed, api_key, bearer, call_tool, m2m_token, obo_token
from harness.gateway import SHAPES, Request, Shape, is_streamed
from support.organization import MODERN

every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@every_shape
def test_an_agent_gets_a_token_and_calls_a_tool_with_it(deployed: Deployed, shape: Shape) -> None:
    demo = deployed.demo
    issued = deployed.ask("token", m2m_token(demo), shape)
    assert issued.status == 200, issued.body
    assert issued.headers["cache-control"] == "no-store"
    token = issued.json()["access_token"]
    called = deployed.ask("proxy", call_tool(MODERN, "echo", bearer(token), text="hello"), shape)
    assert called.status == 200, called.body
    assert called.json()["content"] == [{"type": "text", "text": "hello"}]


@every_shape
def test_an_agent_acts_for_alice_where_policies_let_both(deployed: Deployed, shape: Shape) -> None:
    demo = deployed.demo
    token = deployed.ask("token", obo_token(demo), shape).json()["access_token"]
    called = deployed.ask("proxy", call_tool(MODERN, "echo", bearer(token), text="hello"), shape)
    assert called.status == 200, called.body


@every_shape
def test_a_user_sees_delegations_grants_and_themselves_by_an_api_key(deployed: Deployed, shape: Shape) -> None:
    demo = deployed.demo
    account = f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}"
    key = api_key(demo.ALICE_API_KEY)
    delegations = deployed.ask("delegations", Request("GET", f"{account}/delegations", key), shape)
    assert delegations.status == 200, delegations.body
    assert demo.USER_ID in {one["delegator_user_id"] for one in delegations.json()}
    by_server = {"server_id": demo.SLACK_SERVER_ID}
    grants = deployed.ask("grants", Request("GET", f"{account}/session-grants", key, query=by_server), shape)
    assert grants.status == 200, grants.body
    me = deployed.ask("admin", Request("GET", "/api/v1/me", key), shape)
    assert (me.status, me.json()["id"]) == (200, demo.USER_ID)


@every_shape
def test_a_wrong_secret_is_a_401_and_no_function_error(deployed: Deployed, shape: Shape) -> None:
    wrong = Request.form(
        "/api/v1/oauth/token",
        grant_type="client_credentials",
        client_id=deployed.demo.CLIENT_ID,
        client_secret="wrong",
    )
    refused = deployed.ask("token", wrong, shape)
    assert (refused.status, refused.json()["error"]) == (401, "invalid_client")
    assert "www-authenticate" in refused.headers


def test_a_users_jwt_is_proven_by_its_issuers_published_keys(deployed: Deployed) -> None:
    me = deployed.ask("admin", Request("GET", "/api/v1/me", bearer(deployed.demo.USER_TOKEN)))
    assert (me.status, me.json()["id"]) == (200, deployed.demo.USER_ID)


def test_only_the_proxys_answers_are_streamed(deployed: Deployed) -> None:
    """Only its answers can be long, and streaming needs a gateway that can stream."""
    unauthorized = call_tool(MODERN, "echo", {})
    streamed = deployed.function("proxy").invoke(SHAPES["REST API"](unauthorized))
    streamed.body()
    assert is_streamed(streamed)
    buffered = deployed.function("admin").invoke(SHAPES["REST API"](Request("GET", "/healthz")))
    buffered.body()
    assert not is_streamed(buffered)


def test_the_callers_address_is_the_gateways_word_and_not_a_headers(deployed: Deployed) -> None:
    forged = api_key(deployed.demo.ALICE_API_KEY) | {"x-forwarded-for": "203.0.113.9"}
    called = deployed.ask("proxy", call_tool(MODERN, "echo", forged, text="hello"))
    events = deployed.organization.audit_events(server_id=MODERN)
    event = next(event for event in events if event["request_id"] == called.headers["x-request-id"])
    assert event["source_ip"] == "198.51.100.7"
