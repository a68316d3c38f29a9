"""A function answers every event in HTTP's terms. A function error would be a 502 without an explanation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deployed import Deployed, api_key, call_tool, m2m_token
from harness.function import FUNCTIONS
from harness.gateway import HOST, SHAPES, Request, Shape, answer, http_api, rest_api

every_function = pytest.mark.parametrize("name", FUNCTIONS)
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

# Lambda accepts events of at most 6 MB
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), so this is about the longest body
# that a gateway can pass on.
_LONGEST_BODY = 5_900_000

_NO_HTTP_EVENTS: dict[str, bytes] = {
    # Lambda's Invoke accepts only JSON (its error InvalidRequestContentException), but other programs may run
    # a function.
    "no JSON": b'{"a',
    "not even text": b"\xff\xfe\x00",
    "no byte": b"",
    "nothing in it": b"{}",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"hello"',
    "a queue's": json.dumps({"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}).encode(),
    "a schedule's": json.dumps({"source": "aws.events", "detail-type": "Scheduled Event"}).encode(),
    "a method that is none": json.dumps(rest_api(Request("G ET", "/healthz"))).encode(),
    "a path that is none": json.dumps(rest_api(Request("GET", "\u0000 \u2028"))).encode(),
    "a status where the method belongs": json.dumps({"httpMethod": 200, "requestContext": {}}).encode(),
}


@every_function
@pytest.mark.parametrize("event", _NO_HTTP_EVENTS.values(), ids=_NO_HTTP_EVENTS)
def test_what_is_no_request_is_answered_as_a_bad_one(deployed: Deployed, name: str, event: bytes) -> None:
    refused = answer(deployed.function(name).invoke(event))
    assert 400 <= refused.status < 500, refused.body
    assert refused.json()["error"]


@every_function
def test_after_a_bad_event_the_same_process_answers_the_next(deployed: Deployed, name: str) -> None:
    function = deployed.function(name)
    function.invoke(b"{}").body()
    assert answer(function.invoke(rest_api(Request("GET", "/no/such/path")))).status == 404
    assert function.process.poll() is None


@every_shape
def test_a_body_in_base64_is_the_text_in_it(deployed: Deployed, shape: Shape) -> None:
    event = shape(m2m_token(deployed.demo), encoded=True)  # type: ignore[call-arg]
    assert event["isBase64Encoded"]
    issued = answer(deployed.function("token").invoke(event))
    assert issued.status == 200, issued.body


@every_shape
def test_a_body_that_only_claims_to_be_base64_is_a_400(deployed: Deployed, shape: Shape) -> None:
    event = shape(m2m_token(deployed.demo)) | {"body": "%%% no base64 %%%", "isBase64Encoded": True}
    refused = answer(deployed.function("token").invoke(event))
    assert refused.status == 400, refused.body


def _without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


@pytest.mark.parametrize("missing", ["left out", "null", "empty"])
@every_shape
def test_a_missing_header_map_is_a_request_without_headers(
    deployed: Deployed, shape: Shape, missing: str
) -> None:
    """The event has no readable credential, so the answer is the one for that."""
    event = shape(call_tool(deployed.demo.SERVER_ID, "list_repos", api_key(deployed.demo.ALICE_API_KEY)))
    maps = ("headers", "multiValueHeaders")
    bare = _without(event, *maps)
    if missing != "left out":
        bare |= {name: None if missing == "null" else {} for name in maps if name in event}
    refused = answer(deployed.function("proxy").invoke(bare))
    assert refused.status == 401, refused.body
    assert "resource_metadata=" in refused.headers["www-authenticate"]


@every_shape
def test_without_a_context_of_the_request_it_is_answered_too(deployed: Deployed, shape: Shape) -> None:
    event = shape(Request("GET", "/healthz")) | {"requestContext": {}}
    assert answer(deployed.function("admin").invoke(event)).status in (200, 400)


@every_shape
def test_a_stage_in_front_of_the_path_is_not_part_of_it(deployed: Deployed, shape: Shape) -> None:
    event = shape(Request("GET", "/healthz"))
    event["requestContext"]["stage"] = "live"
    assert answer(deployed.function("admin").invoke(event)).status == 200


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("token", "/api/v1/oauth/token"),
        ("delegations", "/api/v1/agent-accounts/{agent}/delegations"),
        ("grants", "/api/v1/agent-accounts/{agent}/session-grants"),
        ("proxy", "/api/v1/proxy/demo/tools"),
        ("admin", "/api/v1/servers"),
    ],
)
@every_shape
def test_a_body_that_is_too_long_is_a_413(
    deployed: Deployed, shape: Shape, name: str, path: str
) -> None:
    demo = deployed.demo
    kind = "application/x-www-form-urlencoded" if name == "token" else "application/json"
    headers = api_key(demo.ALICE_API_KEY) | {"content-type": kind}
    request = Request("POST", path.format(agent=demo.AGENT_ACCOUNT_ID), headers, "x" * _LONGEST_BODY)
    refused = answer(deployed.function(name).invoke(shape(request)))
    assert refused.status == 413, refused.body
    assert refused.json()["error"]


def test_headers_that_are_no_headers_do_not_end_the_function(deployed: Deployed) -> None:
    event = http_api(Request("GET", "/healthz"))
    event["headers"] |= {"bad name": "x", "x-line": "a\r\nb", "": "y"}
    answered = answer(deployed.function("admin").invoke(event))
    assert answered.status in (200, 400)
    assert HOST.encode() not in answered.body
