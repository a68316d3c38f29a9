"""A person's days with a client: they allow it once, and it works until they end that."""

from __future__ import annotations

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
from support.person import BOB, Person, origin, parameter

# These judge by their own clock whether to refresh. To a 401 they answer by signing in anew.
BY_CLOCK = (PYTHON, FASTMCP)
# A little more than an access token lives.
HOUR = 3601
# What these say of themselves when their person does not allow it. The others leave that to the app around them.
SAYS_NO = {
    MCP_REMOTE: "mcp-remote: Authorization failed: access_denied - The user did not allow it",
    INSPECTOR: "The user did not allow it",
}
WORKS = {"name": "list_repos", "arguments": {"org": "acme-corp"}}
FORBIDDEN = {"name": "delete_repo", "arguments": {"org": "acme-corp", "repo": "website"}}


def assert_works(said: dict[str, Any]) -> None:
    assert said["result"]["content"][0]["text"].startswith("acme-corp has 5 repositories: "), said


def assert_asks(page: str, program: Program, address: str) -> None:
    """The consent page says who asks, for what, as whom, and where the answer goes."""
    lines = page.splitlines()
    for told in (
        "Let a program on this computer use Demo repositories as you?",
        f"Unverified It calls itself “{program.shown_as}”. Any program can use that name.",
        f"You, {BOB}",
        f"The answer goes to {origin(parameter(address, 'redirect_uri'))}",
        "call Demo repositories tools as you",
        "change your delegations or keys",
    ):
        assert told in lines, page


@pytest.mark.parametrize(
    "program",
    [MCP_REMOTE, INSPECTOR, TYPESCRIPT_2, TYPESCRIPT_1, PYTHON, FASTMCP],
    ids=lambda program: program.name,
)
def test_a_client_is_allowed_once_and_works_until_its_person_ends_it(
    program: Program, bob: Person, home: Path
) -> None:
    desk = Desk(program, home, bob.url("demo"))
    with desk.start() as client:
        client.ask("list_tools")
        address = desk.opening()
        assert_asks(bob.sign_in(address), program, address)
        assert parameter(address, "resource") == desk.url
        bob.allow()

        # The policies are Bob's own: Support Bot, for example, may delete.
        assert [tool["name"] for tool in client.answer()["result"]["tools"]] == ["list_repos"]
        assert_works(say(client, "call_tool", **WORKS))
        denied = say(client, "call_tool", **FORBIDDEN)["error"]["message"]
        # The Inspector looks the tool up, and finds that there is none.
        assert "Policy denied" in denied or "Tool 'delete_repo' not found" in denied

        # An hour later.
        if program in BY_CLOCK:
            say(client, "pass", seconds=HOUR)
        else:
            bob.end_access_token(desk)
        assert_works(say(client, "call_tool", **WORKS))

    (allowed,) = bob.authorizations()
    assert [allowed[name] for name in ("app_kind", "app_name", "app_host", "resource")] == [
        "dynamic",
        program.shown_as,
        None,
        desk.url,
    ]
    trail = bob.trail(client_id=allowed["client_id"])
    assert issued(trail) == ["authorization_code", "refresh_token"]
    assert {event["user_id"] for event in trail} == {bob.server.demo.BOB_ID}
    logged = bob.server.output()
    assert [name for name in ("access_token", "refresh_token") if desk.kept(name) in logged] == []

    # The next day, with what was kept.
    if program not in BY_CLOCK:
        bob.end_access_token(desk)
    with desk.start() as client:
        if program == FASTMCP:
            # It does not keep where the token endpoint is, and goes to /token.
            say(client, "pass", seconds=3 * HOUR)
        assert_works(say(client, "call_tool", **WORKS))
        assert desk.openings() == []
        refreshed = ["refresh_token"] * (1 if program == PYTHON else 2)
        assert issued(bob.trail(client_id=allowed["client_id"])) == ["authorization_code", *refreshed]

        bob.revoke_all()
        client.ask("call_tool", **WORKS)
        address = desk.opening()
        assert_asks(bob.look(address), program, address)
        bob.deny()
        if told := SAYS_NO.get(program):
            assert told in client.answer()["error"]["message"]
    assert desk.openings() == []
    assert bob.authorizations() == []
    assert issued(bob.trail(client_id=allowed["client_id"])) == ["authorization_code", *refreshed]


def test_the_python_client_asks_again_if_its_token_ran_out_while_it_was_closed(
    bob: Person, home: Path
) -> None:
    """It does not know how old a kept token is (https://github.com/modelcontextprotocol/python-sdk/issues/3250). The page
    is shorter then."""
    desk = Desk(PYTHON, home, bob.url("demo"))
    with desk.start() as client:
        client.ask("call_tool", **WORKS)
        bob.sign_in(desk.opening())
        bob.allow()
        assert_works(client.answer())
    bob.end_access_token(desk)
    with desk.start() as client:
        client.ask("call_tool", **WORKS)
        page = bob.look(desk.opening())
        assert "You allowed this on " in page
        assert "It will be able to" not in page
        bob.allow()
        assert_works(client.answer())
    assert len(bob.authorizations()) == 1


def issued(trail: list[dict[str, Any]]) -> list[str]:
    """For what the tokens were given, the first one first."""
    return [
        event["credential"].split(":")[0]
        for event in reversed(trail)
        if (event["action"], event["outcome"]) == ("app_token.issue", "allowed")
    ]
