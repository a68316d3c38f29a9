"""A server that asks for an account of the person's, which is not connected. The client shows where to connect. It is
never sent to sign in again, which would not help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.desk_clients import (
    FASTMCP,
    INSPECTOR,
    MCP_REMOTE,
    PYTHON,
    TYPESCRIPT_1,
    TYPESCRIPT_2,
    Desk,
    Program,
    say,
)
from support.documents import Documents
from support.person import Person

CHAT = "demo-oauth"
Told = Callable[[dict[str, Any], str], None]
CALL = {"name": "list_channels", "arguments": {}}


@pytest.fixture
def bob(bob: Person) -> Iterator[Person]:
    yield bob
    bob.disconnect(CHAT)


def connect_page(bob: Person) -> str:
    return f"{bob.server.url}/connect/{CHAT}"


def assert_works(said: dict[str, Any]) -> None:
    assert said["result"]["content"][0]["text"].startswith("acting as bob@example.com: "), said


def by_error(said: dict[str, Any], page: str) -> None:
    """The error of 2025-11-25, with the address to open."""
    assert said["error"]["code"] == -32042, said
    (elicitation,) = said["error"]["data"]["elicitations"]
    assert (elicitation["mode"], elicitation["url"]) == ("url", page)


def by_question(said: dict[str, Any], page: str) -> None:
    """A client of 2026-07-28 is asked to open the address. It does, repeats its request, and is told in words."""
    assert said["asked"] == [page]
    by_words(said | {"asked": []}, page)


def by_words(said: dict[str, Any], page: str) -> None:
    assert said["asked"] == []
    told = f"OAuth session not found; connect to the server at {page}, then try again"
    assert told in said["error"]["message"]


@pytest.mark.parametrize(
    ("program", "is_told"),
    [
        pytest.param(MCP_REMOTE, by_words, id="mcp-remote"),
        pytest.param(INSPECTOR, by_words, id="inspector"),
        pytest.param(TYPESCRIPT_2, by_question, id="typescript2"),
        pytest.param(PYTHON, by_question, id="python_sdk"),
        pytest.param(FASTMCP, by_question, id="fastmcp"),
        # A session of a handshake client is bound to its connection. Without it, what the client can do is not known.
        pytest.param(TYPESCRIPT_1, by_words, id="typescript1"),
    ],
)
def test_a_connection_is_made_on_the_way_and_when_it_is_gone_the_client_says_where_to_connect_again(
    program: Program, is_told: Told, bob: Person, home: Path, documents: Documents
) -> None:
    """These clients have documents."""
    desk = Desk(program, home, bob.url(CHAT), documents.of(program.shown_as), opens=True)
    with desk.start() as client:
        client.ask("call_tool", **CALL)
        address = desk.opening()
        page = bob.sign_in(address).splitlines()
        assert "Let a program on this computer use Demo chat (OAuth) as you?" in page
        says = f"It says that it is “{program.shown_as}” of 127.0.0.1. Any program on this computer can say that."
        assert f"Unverified {says}" in page
        bob.allow()
        bob.browser.wait_for("text=Connect your Demo chat (OAuth) account?")
        bob.browser.click('button[value="connect"]')
        bob.sign_in_at_demo_chat()
        bob.browser.click('button[value="go_on"]')
        assert_works(client.answer())
        (allowed,) = bob.authorizations()
        assert (allowed["app_kind"], allowed["client_id"]) == ("document", desk.document)

        bob.disconnect(CHAT)
        is_told(say(client, "call_tool", **CALL), connect_page(bob))
        bob.browser.open(connect_page(bob))
        bob.browser.click("form >> text=Connect")
        bob.sign_in_at_demo_chat()
        bob.browser.wait_for("text=or close this page.")
        if program != TYPESCRIPT_1:
            assert_works(say(client, "call_tool", **CALL))
    if program == TYPESCRIPT_1:
        # It begins no other session by itself (https://github.com/modelcontextprotocol/typescript-sdk/issues/1708).
        with desk.start() as client:
            assert_works(say(client, "call_tool", **CALL))
    assert_signed_in_once(desk, bob)


@pytest.mark.parametrize(
    ("program", "opens", "is_told"),
    [
        pytest.param(MCP_REMOTE, False, by_words, id="mcp-remote"),
        pytest.param(TYPESCRIPT_1, True, by_error, id="typescript1"),
        # It tries 2026-07-28 at first. Only a call, a prompt and a resource can ask there, so it then shakes hands.
        pytest.param(TYPESCRIPT_2, True, by_error, id="typescript2"),
        pytest.param(PYTHON, False, by_words, id="python_sdk"),
    ],
)
def test_a_client_whose_person_does_not_connect_says_where_to_and_asks_for_no_other_token(
    program: Program, opens: bool, is_told: Told, bob: Person, home: Path, documents: Documents
) -> None:
    desk = Desk(program, home, bob.url(CHAT), documents.of(program.shown_as), opens=opens)
    with desk.start() as client:
        client.ask("call_tool", **CALL)
        bob.sign_in(desk.opening())
        bob.allow()
        bob.browser.click("text=Not now")
        is_told(client.answer(), connect_page(bob))
    assert_signed_in_once(desk, bob)


def assert_signed_in_once(desk: Desk, bob: Person) -> None:
    assert desk.openings() == []
    assert desk.document
    latest = bob.trail(client_id=desk.document)
    begun = [event["action"] for event in latest].index("authorization.create")
    assert [event["action"] for event in latest[:begun]].count("app_token.issue") == 1
