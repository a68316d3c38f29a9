"""A user connects in Chromium: signs in at the authorization server, consents, comes back, and sees the result.
`--basetemp` keeps the screenshots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from harness.api import caller, done, obo_token
from harness.browser import Browser
from harness.connecting import CALLBACK_PATH, CHAT, acting_as, begin, connection, grant, register_chat, whoami
from harness.demo_env import DemoEnv
from harness.protected import Protected
from harness.server import Server


@pytest.fixture(autouse=True)
def chat(server: Server, protected: Protected) -> None:
    register_chat(server, protected)


@pytest.fixture
def bob(server: Server, demo: DemoEnv) -> httpx.Client:
    return caller(server, api_key=demo.BOB_API_KEY)


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def sign_in_and_answer(browser: Browser, authorization_url: str, login: str, button: str) -> None:
    browser.open(authorization_url)
    browser.fill("#login", login)
    browser.click("#sign-in")
    browser.wait_for("#allow")
    browser.click(button)


def test_a_person_signs_in_consents_confirms_and_the_agent_works_for_them_without_anybody_seeing_a_token(
    server: Server,
    demo: DemoEnv,
    protected: Protected,
    bob: httpx.Client,
    browser: Browser,
    tmp_path: Path,
) -> None:
    sign_in_and_answer(browser, begin(bob), "bob", "#allow")

    # A script asked for the URL, so this browser has no cookie, and the page asks whose connection it is.
    browser.wait_for("#confirm")
    browser.screenshot(tmp_path / "confirmation.png")
    asked = browser.text()
    for told in ("Is this you?", "bob@example.com", "Chat", urlsplit(protected.issuer).netloc):
        assert told in asked
    assert bob.get(f"/api/v1/servers/{CHAT}/connection").status_code == httpx.codes.NOT_FOUND

    browser.click("#confirm")
    browser.wait_for("text=Connected")
    browser.screenshot(tmp_path / "connected.png")
    assert browser.url.startswith(f"{server.url}{CALLBACK_PATH}")
    for told in ("Connected", "bob@example.com", "Chat"):
        assert told in browser.text()

    connected = connection(bob)
    assert connected["connected_at"] < connected["expires_at"]
    assert connected | {"connected_at": None, "expires_at": None} == {
        "server_id": CHAT,
        "status": "connected",
        "connected_at": None,
        "expires_at": None,
        "scope": "chat:read",
        "renewable": True,
        "ended_because": None,
    }
    granted = grant(bob, demo.AGENT_ACCOUNT_ID)
    answer = whoami(caller(server, token=obo_token(server, demo.BOB_ID)))
    assert acting_as(answer) == "bob"

    secrets = protected.secrets()
    assert {name for name, _ in secrets} == {
        "the provider's access_token",
        "the provider's refresh_token",
        "the provider's client_secret",
    }
    shown = json.dumps([browser.answers(), connected, granted, answer.text, dict(answer.headers)])
    assert CALLBACK_PATH in shown
    assert [name for name, secret in secrets if secret in shown] == []
    assert browser.complaints() == [], "the pages' policy permits all that they are made of"


def test_the_browser_that_began_is_known_again_and_not_asked(
    server: Server, bob: httpx.Client, browser: Browser
) -> None:
    begun = done(bob.post(f"/api/v1/servers/{CHAT}/connect"))
    cookie = SimpleCookie(begun.headers["set-cookie"])
    ((name, morsel),) = cookie.items()
    assert name.startswith("deputize_connect")
    assert (morsel["path"], morsel["httponly"], morsel["samesite"]) == (CALLBACK_PATH, True, "Lax")
    browser.add_cookie(server.url + CALLBACK_PATH, name, morsel.value)

    sign_in_and_answer(browser, begun.json()["authorization_url"], "bob", "#allow")
    browser.wait_for("text=Connected")
    assert connection(bob)["status"] == "connected"


def test_a_person_who_declines_is_told_that_nothing_was_connected(
    bob: httpx.Client, browser: Browser, tmp_path: Path
) -> None:
    sign_in_and_answer(browser, begin(bob), "bob", "#decline")
    browser.wait_for("text=Not connected")
    browser.screenshot(tmp_path / "declined.png")
    assert "declined" in browser.text()
    # The way back, if the person has changed their mind.
    browser.click("text=Try again")
    browser.click('button[value="bob@example.com"]')
    browser.wait_for("text=Connect to Chat")
    assert bob.get(f"/api/v1/servers/{CHAT}/connection").status_code == httpx.codes.NOT_FOUND


def test_the_pages_can_be_read_on_a_phone_and_in_the_dark(
    bob: httpx.Client, browser: Browser, tmp_path: Path
) -> None:
    browser.prefer("dark")
    browser.resize(360, 640)
    sign_in_and_answer(browser, begin(bob), "bob", "#allow")
    browser.wait_for("#confirm")
    browser.screenshot(tmp_path / "confirmation-dark.png")
    assert browser.fits()
    browser.click("#confirm")
    browser.wait_for("text=Connected")
    browser.screenshot(tmp_path / "connected-dark.png")
    assert browser.fits()


def test_going_back_to_a_page_that_was_used_connects_nothing_again(
    bob: httpx.Client, browser: Browser
) -> None:
    sign_in_and_answer(browser, begin(bob), "bob", "#allow")
    browser.wait_for("#confirm")
    callback = browser.url
    browser.click("#confirm")
    browser.wait_for("text=Connected")
    assert browser.open(callback) == httpx.codes.BAD_REQUEST
    assert "used already" in browser.text()
    assert connection(bob)["status"] == "connected"
