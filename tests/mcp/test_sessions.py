"""Sessions of handshake clients: to whom they belong, that they outlive a process, and what comes over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.server import Server
from harness.waiting import wait_until
from support.organization import CONFORMANCE, HANDSHAKE, HANDSHAKE_TOOLS, MODERN, MODERN_TOOLS, Organization
from support.upstreams import Upstream
from support.wire import HandshakeSession, answer, events, messages, modern_request

SERVERS = {
    HANDSHAKE: ("echo", {"message": "hello"}, "Echo: hello"),
    MODERN: ("echo", {"text": "hello"}, "hello"),
}
TWINS = {HANDSHAKE: HANDSHAKE_TOOLS, MODERN: MODERN_TOOLS}


def assert_goes_on(session: HandshakeSession, server: str) -> None:
    tool, arguments, said = SERVERS[server]
    response = session.call(tool, **arguments)
    assert response.status_code == httpx.codes.OK, response.text
    assert answer(response)["result"]["content"] == [{"type": "text", "text": said}]


def assert_gone(response: httpx.Response) -> None:
    """After a 404, a client begins another session."""
    assert response.status_code == httpx.codes.NOT_FOUND, response.text
    # The code in it depends on who noticed: Deputize or the server.
    assert response.json()["error"]["message"]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_session_is_no_good_to_another_caller(server: str, organization: Organization) -> None:
    alices = HandshakeSession.begin(organization.url(server), organization.alice_token)
    assert_goes_on(alices, server)
    tool, arguments, _ = SERVERS[server]
    for thief in (organization.bob_token, organization.agent_token):
        assert_gone(replace(alices, token=thief).call(tool, **arguments))
        assert_gone(replace(alices, token=thief).tell("notifications/cancelled"))
        assert_gone(replace(alices, token=thief).end())
        with replace(alices, token=thief).listen() as response:
            response.read()
            assert_gone(response)
    assert_goes_on(alices, server)


def test_a_session_is_no_good_at_another_server(server: str, organization: Organization) -> None:
    """Also not if it is the same server under another id, at which other policies may apply."""
    session = HandshakeSession.begin(organization.url(server), organization.agent_token)
    tool, arguments, _ = SERVERS[server]
    assert_gone(replace(session, url=organization.url(TWINS[server])).call(tool, **arguments))
    assert_goes_on(session, server)


def test_a_session_id_that_was_tampered_with_is_no_good(server: str, organization: Organization) -> None:
    session = HandshakeSession.begin(organization.url(server), organization.agent_token)
    tool, arguments, _ = SERVERS[server]
    assert session.id
    middle = len(session.id) // 2
    other = "A" if session.id[middle] != "A" else "B"
    for forged in (
        session.id[:middle] + other + session.id[middle + 1 :],
        session.id[:-4],
        "forged",
        "a" * 9000,
    ):
        assert_gone(replace(session, id=forged).call(tool, **arguments))


def test_the_servers_own_session_id_is_not_told(organization: Organization, handshake: Upstream) -> None:
    """A client that had it could talk to the server without Deputize."""
    session = HandshakeSession.begin(organization.url(HANDSHAKE), organization.agent_token)
    known = [
        line.rsplit(" ", 1)[1]
        for line in handshake.output.text().splitlines()
        if "initialized with ID" in line
    ]
    assert known
    assert session.id
    assert not any(upstream_id in session.id for upstream_id in known)
    assert_gone(replace(session, id=known[-1]).call("echo", message="hello"))


def test_a_session_that_was_ended_is_gone(organization: Organization) -> None:
    session = HandshakeSession.begin(organization.url(CONFORMANCE), organization.agent_token)
    assert session.end().status_code == httpx.codes.NO_CONTENT
    assert_gone(session.call("test_simple_text"))
    assert_gone(session.tell("notifications/cancelled"))
    assert_gone(session.end())
    with session.listen() as response:
        response.read()
        assert_gone(response)


def test_a_session_goes_on_after_our_process_was_killed(
    server: str, upstreams: dict[str, str], tmp_path: Path
) -> None:
    with Server.start(tmp_path / "data") as first:
        organization = Organization.found(first, upstreams)
        session = HandshakeSession.begin(organization.url(server), organization.agent_token)
        assert_goes_on(session, server)
        first.kill()
    with Server.start(tmp_path / "data", port=first.port):
        assert_goes_on(session, server)


@pytest.mark.parametrize(
    ("tool", "arguments", "asked", "response", "said"),
    [
        (
            "trigger-elicitation-request",
            {},
            "elicitation/create",
            {"action": "accept", "content": {"name": "Ada"}},
            "- Name: Ada",
        ),
        (
            "trigger-sampling-request",
            {"prompt": "Say something"},
            "sampling/createMessage",
            {"role": "assistant", "model": "a model", "content": {"type": "text", "text": "something"}},
            '"text": "something"',
        ),
    ],
    ids=["elicitation", "sampling"],
)
def test_a_request_of_the_servers_reaches_the_client_and_its_answer_gets_back(
    tool: str,
    arguments: dict[str, Any],
    asked: str,
    response: dict[str, Any],
    said: str,
    organization: Organization,
) -> None:
    session = HandshakeSession.begin(
        organization.url(HANDSHAKE), organization.agent_token, {"elicitation": {}, "sampling": {}}
    )
    with session.request("tools/call", {"name": tool, "arguments": arguments}) as stream:
        coming = messages(stream)
        request = next(message for message in coming if "method" in message)
        assert request["method"] == asked
        assert session.respond(request["id"], response).status_code == httpx.codes.ACCEPTED
        result = next(message for message in coming if "result" in message)["result"]
    assert said in " ".join(block["text"] for block in result["content"])


def test_another_caller_cannot_answer_what_the_server_asks(organization: Organization) -> None:
    session = HandshakeSession.begin(
        organization.url(HANDSHAKE), organization.alice_token, {"elicitation": {}}
    )
    with session.request("tools/call", {"name": "trigger-elicitation-request", "arguments": {}}) as stream:
        coming = messages(stream)
        request = next(message for message in coming if "method" in message)
        intruder = replace(session, token=organization.bob_token)
        assert_gone(intruder.respond(request["id"], {"action": "accept", "content": {"name": "Mallory"}}))
        session.respond(request["id"], {"action": "decline"})
        result = next(message for message in coming if "result" in message)["result"]
    assert "declined" in result["content"][0]["text"]


def test_what_the_server_says_by_itself_comes_over_the_sessions_stream(organization: Organization) -> None:
    """The server asks for roots as soon as a client with roots connects."""
    session = HandshakeSession.begin(organization.url(HANDSHAKE), organization.agent_token, {"roots": {}})
    with session.listen() as stream:
        assert stream.status_code == httpx.codes.OK
        request = next(messages(stream))
        assert request["method"] == "roots/list"
        roots = [{"uri": "file:///tmp", "name": "a root"}]
        assert session.respond(request["id"], {"roots": roots}).status_code == httpx.codes.ACCEPTED
    wait_until(
        "the server has the roots",
        lambda: "a root" in answer(session.call("get-roots-list"))["result"]["content"][0]["text"],
    )


def test_a_stream_that_broke_is_resumed_where_it_broke(organization: Organization) -> None:
    session = HandshakeSession.begin(organization.url(CONFORMANCE), organization.agent_token)
    params = {"name": "test_tool_with_progress", "arguments": {}, "_meta": {"progressToken": "p"}}
    with session.request("tools/call", params) as stream:
        first = next(event for event in events(stream) if event.data)
    assert first.id
    assert first.message["params"]["progress"] == 0
    rest = list(_until_response(session, first.id))
    assert [message["params"]["progress"] for message in rest[:-1]] == [50, 100]
    assert rest[-1]["result"]["content"][0]["text"] == "done"


def test_a_server_may_end_a_stream_and_have_the_client_come_back_for_the_result(
    organization: Organization,
) -> None:
    """That is not a failure of the call."""
    session = HandshakeSession.begin(organization.url(CONFORMANCE), organization.agent_token)
    with session.request("tools/call", {"name": "test_reconnection", "arguments": {}}) as stream:
        (place,) = events(stream)
    assert place.id
    assert place.data == ""
    (response,) = _until_response(session, place.id)
    assert response["result"]["content"][0]["text"] == "reconnected"


def test_a_stateless_client_gets_the_result_that_a_handshake_server_has_it_come_back_for(
    organization: Organization,
) -> None:
    """Since the client cannot resume by itself."""
    url, token = organization.url(CONFORMANCE), organization.agent_token
    with modern_request(url, token, "tools/call", {"name": "test_reconnection", "arguments": {}}) as response:
        assert answer(response)["result"]["content"][0]["text"] == "reconnected"


def _until_response(session: HandshakeSession, last_event_id: str) -> Iterator[dict[str, Any]]:
    with session.listen(last_event_id) as stream:
        assert stream.status_code == httpx.codes.OK, stream.read()
        for message in messages(stream):
            yield message
            if "method" not in message:
                return


def test_a_resumed_list_shows_no_more_than_the_list(organization: Organization) -> None:
    """The server repeats what it sent, before it was filtered."""
    session = HandshakeSession.begin(organization.url(HANDSHAKE), organization.agent_token)
    with session.request("tools/list") as stream:
        listed = list(events(stream))
    place = next(event.id for event in listed if event.id)
    with session.listen(place) as stream:
        assert stream.status_code == httpx.codes.OK, stream.read()
        again = next(message for message in messages(stream) if "result" in message)
    names = {tool["name"] for tool in again["result"]["tools"]}
    assert "echo" in names
    assert "get-env" not in names


def test_a_handshake_client_at_a_stateless_server_has_no_stream_to_open(organization: Organization) -> None:
    session = HandshakeSession.begin(organization.url(MODERN), organization.agent_token)
    with session.listen() as response:
        assert response.status_code == httpx.codes.METHOD_NOT_ALLOWED
