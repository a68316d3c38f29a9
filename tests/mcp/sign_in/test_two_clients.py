"""Two clients at once, and one client that asks for more than one server."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.desk_clients import FASTMCP_BY_WORD, MCP_REMOTE, TYPESCRIPT_2, Desk, say
from support.person import Person, parameter

WORKS = {"name": "list_repos", "arguments": {"org": "acme-corp"}}


def test_two_clients_in_two_tabs_do_not_mix(bob: Person, home: Path) -> None:
    """FastMCP's is given `auth="oauth"`, and nothing else."""
    first = Desk(FASTMCP_BY_WORD, home / "first", bob.url("demo"))
    second = Desk(TYPESCRIPT_2, home / "second", bob.url("demo"))
    with first.start() as one, second.start() as other:
        one.ask("call_tool", **WORKS)
        other.ask("call_tool", **WORKS)
        addresses = first.opening(), second.opening()
        assert FASTMCP_BY_WORD.shown_as in bob.sign_in(addresses[0])
        bob.browser.tab("second")
        assert TYPESCRIPT_2.shown_as in bob.look(addresses[1])
        bob.browser.tab("first")
        bob.allow()
        assert "result" in one.answer()
        # The second tab's question still stands, and its answer is for the second client.
        bob.browser.tab("second")
        assert TYPESCRIPT_2.shown_as in bob.read()
        bob.deny()
        assert other.answer()["error"]["message"] == "the answer is access_denied"
    (allowed,) = bob.authorizations()
    assert allowed["app_name"] == FASTMCP_BY_WORD.shown_as
    assert allowed["client_id"] == parameter(addresses[0], "client_id")
    bob.browser.tab("first")


@pytest.mark.parametrize("resource", ["/", None], ids=["the origin", "none"])
def test_mcp_remote_may_ask_for_the_origin_or_name_no_resource_and_its_person_reads_every_server(
    resource: str | None, bob: Person, home: Path
) -> None:
    """Its flags `--resource` and `--disable-resource-parameter`."""
    origin = bob.server.url
    flags = ["--disable-resource-parameter"] if resource is None else ["--resource", origin + resource]
    desk = Desk(MCP_REMOTE, home, bob.url("demo"), flags=flags)
    with desk.start() as client:
        client.ask("call_tool", **WORKS)
        page = bob.sign_in(desk.opening())
        assert "Let a program on this computer use every server as you?" in page
        assert "All tools that you may use, now and later" in page
        bob.allow()
        assert "result" in client.answer()
        assert "result" in say(client, "call_tool", **WORKS)
    (allowed,) = bob.authorizations()
    assert allowed["resource"] == f"{origin}/api/v1/proxy"
