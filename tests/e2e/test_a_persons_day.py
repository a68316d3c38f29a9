"""A person's day with an MCP client of theirs, in real browsers. `tests/contract/authorize/a_day.rs` has the same day
by the clock: there the hours pass."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest
from harness.api import caller, done
from harness.apps import App, Callback, register
from harness.browser import Browser
from harness.connecting import CHAT, register_chat
from harness.protected import Protected
from harness.server import Server

BOB = 'button[value="bob@example.com"]'
ALLOW = 'button[value="allow"]'
NOT_NOW = 'button[value="go_on"]'


@pytest.fixture
def desk() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def laptop() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def sign_in_to_allow(browser: Browser, app: App, callback: Callback, *, connects_later: bool) -> None:
    """The client opens a browser. Bob says who he is, allows it, and comes back."""
    asked = app.ask(resource=f"{app.server.url}/api/v1/proxy/{CHAT}/mcp", scope="tools:call offline_access")
    browser.open(asked.url)
    browser.click(BOB)
    browser.wait_for("text=It calls itself “Editor”.")
    browser.click(ALLOW)
    if connects_later:
        browser.wait_for("text=Connect your Chat account?")
        browser.click(NOT_NOW)
    browser.wait_for("#there")
    app.redeem(asked, callback.answer())


def who(app: App) -> str:
    """As whom the client's call arrives at the MCP server."""
    result = done(app.call_tool(CHAT, "whoami")).json()["result"]
    return result["structuredContent"]["acting_as"]


def is_let_in(app: App) -> bool:
    return app.call_tool(CHAT, "whoami").status_code != httpx.codes.UNAUTHORIZED


def test_a_day(server: Server, protected: Protected, desk: Browser, laptop: Browser) -> None:
    register_chat(server, protected)
    with Callback() as callback:
        # Bob gives his client the server's address. It registers itself, and he allows it.
        metadata = {
            "client_name": "Editor",
            "redirect_uris": [callback.uri],
            "token_endpoint_auth_method": "none",
        }
        client_id = register(server, metadata)["client_id"]
        first = App(server, client_id, callback.uri)
        sign_in_to_allow(desk, first, callback, connects_later=True)

        # It calls, and Bob is not connected. That is no 401: the client shows him where to connect.
        told = done(first.call_tool(CHAT, "whoami"))
        assert "www-authenticate" not in told.headers
        asked = told.json()["result"]["inputRequests"]["deputize.connect"]["params"]
        assert (asked["mode"], asked["url"]) == ("url", f"{server.url}/connect/{CHAT}")

        # He opens the address in the browser, and connects.
        desk.open(asked["url"])
        desk.click("button:text('Connect')")
        desk.fill("#login", "bob")
        desk.click("#sign-in")
        desk.click("#allow")
        desk.wait_for("text=Agents that bob@example.com")
        assert who(first) == "bob"

        # The client refreshes its token.
        first.refresh()
        assert who(first) == "bob"

        # It refreshes twice at once, from two addresses: both get the same next token, and neither is logged out.
        at_once = Barrier(2)

        def refreshed(address: str) -> httpx.Response:
            at_once.wait()
            return first.try_refresh(first.tokens["refresh_token"], address=address)

        with ThreadPoolExecutor(2) as threads:
            answers = [done(a).json() for a in threads.map(refreshed, ["127.0.0.2", "127.0.0.3"])]
        assert answers[0]["refresh_token"] == answers[1]["refresh_token"]
        for first.tokens in answers:
            assert who(first) == "bob"

        # An answer is lost. The client tries again with what it has, and gets what was lost.
        lost = done(first.try_refresh(first.tokens["refresh_token"])).json()
        first.refresh()
        assert first.tokens["refresh_token"] == lost["refresh_token"]
        assert who(first) == "bob"

        # The same client on a second machine. The page is shorter, and Bob is asked all the same.
        second = App(server, client_id, callback.uri, address="127.0.0.4")
        sign_in_to_allow(laptop, second, callback, connects_later=False)
        assert who(second) == "bob"
        # He signs out of the client on the first one, which ends nothing on the second.
        first.revoke()
        ended = first.try_refresh(first.tokens["refresh_token"])
        assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")
        assert not is_let_in(first)
        second.refresh()
        assert who(second) == "bob"

        # He ends the client in the browser. Its next call is refused, and so is its next refresh.
        desk.open(f"{server.url}/apps")
        assert "A program on your computer that calls itself “Editor”" in desk.text()
        desk.click("text=End it")
        desk.wait_for("text=No app acts as you.")
        assert "Editor" not in desk.text()
        assert not is_let_in(second)
        ended = second.try_refresh(second.tokens["refresh_token"])
        assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")

    bob = caller(server, api_key=server.demo.BOB_API_KEY)
    assert done(bob.get("/api/v1/authorizations")).json() == []
    for browser in (desk, laptop):
        assert browser.complaints() == [], "the pages' policy permits all that they are made of"
