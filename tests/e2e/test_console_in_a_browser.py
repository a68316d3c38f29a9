"""The console in Chromium: a person who has never seen it does all that it is for, with and without scripts; and each page
is looked at, on a phone and at a desk, in the light and in the dark. `--basetemp` keeps the screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness.api import caller, done, obo_token
from harness.browser import Browser
from harness.connecting import CHAT, acting_as, register_chat, whoami
from harness.demo_env import DemoEnv
from harness.protected import Protected
from harness.server import Server

PAGES = ["/", "/delegate", "/connections", "/apps", "/keys", "/activity", "/delegations/end-all"]


@pytest.fixture(autouse=True)
def chat(server: Server, protected: Protected) -> None:
    register_chat(server, protected)


@pytest.fixture(params=["with scripts", "without scripts"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    with Browser(scripts=request.param == "with scripts") as browser:
        yield browser


def sign_in(browser: Browser, server: Server, name: str) -> None:
    """As somebody of the demo; or as somebody new."""
    browser.open(f"{server.url}/")
    if name == "dora":
        browser.fill("#new", "dora@example.com")
        browser.click("text=Sign in")
    else:
        browser.click(f'button[value="{name}@example.com"]')
    browser.wait_for("text=can act as you now")


def connect(browser: Browser, login: str) -> None:
    """From the page that asks, to the provider and back."""
    browser.click("main button")
    browser.fill("#login", login)
    browser.click("#sign-in")
    browser.wait_for("#allow")
    browser.click("#allow")
    browser.wait_for("text=Nobody but this service sees its tokens.")


def test_somebody_new_delegates_connects_lends_sees_the_call_and_takes_it_all_back(
    server: Server, demo: DemoEnv, browser: Browser, tmp_path: Path
) -> None:
    sign_in(browser, server, "dora")
    assert "No agent acts for you." in browser.text()

    browser.click("main >> text=Delegate to an agent")
    browser.click("text=Support Bot")
    browser.check(f'input[name="server:{CHAT}"]')
    browser.click("main >> button.primary")
    browser.wait_for("text=Support Bot acts for you now.")
    assert "Calls fail" in browser.text(), "it has nobody's credentials at Chat yet"
    browser.screenshot(tmp_path / "delegated.png")

    browser.click("text=Lend your connection")
    browser.click("main a.primary")
    connect(browser, "dora")
    browser.click("text=See who uses it")
    browser.click("main h2 >> text=Chat")
    browser.click("text=Lend mine")
    browser.wait_for("text=Yours: you lend it.")
    browser.screenshot(tmp_path / "lent.png")

    alice = caller(server, api_key=demo.ALICE_API_KEY)
    permit = {"name": "Chat", "text": f'permit (principal, action, resource in Server::"{CHAT}");'}
    done(alice.post("/api/v1/policies", json=permit))
    users = done(alice.get("/api/v1/users")).json()
    dora = next(user["id"] for user in users if user["email"] == "dora@example.com")
    agent = caller(server, token=obo_token(server, dora))
    assert acting_as(whoami(agent)) == "dora"
    browser.open(f"{server.url}/activity")
    assert "Support Bot called whoami at Chat for you." in browser.text()
    browser.click("main li >> text=Look")
    browser.wait_for("text=Stop it")
    browser.screenshot(tmp_path / "event.png")

    browser.open(f"{server.url}/")
    assert "whoami at Chat" in browser.text()
    browser.click('main >> text="End"')
    browser.wait_for("text=Support Bot no longer acts for you.")
    assert whoami(agent).status_code == httpx.codes.UNAUTHORIZED
    browser.screenshot(tmp_path / "ended.png")
    browser.click("text=Undo")
    browser.wait_for("text=Support Bot acts for you now.")
    browser.click("main >> text=End all")
    browser.click("main >> button.fill")
    browser.wait_for("text=No agent acts for you.")

    browser.open(f"{server.url}/connections")
    browser.click("main >> text=Disconnect")
    browser.click("main >> button.fill")
    browser.wait_for("text=You are no longer connected to Chat.")
    assert [what for what in browser.complaints() if server.url in what] == []


def test_a_key_is_made_used_deleted_and_restored(server: Server, browser: Browser, tmp_path: Path) -> None:
    sign_in(browser, server, "carol")
    browser.open(f"{server.url}/keys")
    browser.fill('input[name="name"]', "Nightly report")
    browser.check('input[name="manage_read"]')
    browser.choose('select[name="until"]', "7")
    browser.click("main >> button.primary")
    browser.wait_for("text=It is shown once.")
    browser.screenshot(tmp_path / "key.png")
    key = browser.text(".secret code")
    with caller(server, api_key=key) as script:
        assert done(script.get("/api/v1/me")).json()["email"] == "carol@example.com"
        browser.open(f"{server.url}/keys")
        assert key not in browser.text()
        browser.click('[aria-label="Delete Nightly report"]')
        browser.wait_for("text=it is refused from now on")
        assert script.get("/api/v1/me").status_code == httpx.codes.UNAUTHORIZED
        browser.click("text=Undo")
        browser.wait_for("text=Nightly report")
        done(script.get("/api/v1/me"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_each_page_fits_and_axe_finds_nothing(
    server: Server, demo: DemoEnv, protected: Protected, tmp_path: Path, scheme: str, width: int
) -> None:
    bob = caller(server, api_key=demo.BOB_API_KEY)
    long = {"name": "An agent with a name that goes on and on " * 4}
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    agent = done(alice.post("/api/v1/agent-accounts", json=long)).json()["id"]
    done(bob.post(f"/api/v1/agent-accounts/{agent}/delegations", json={"server_ids": [CHAT, "demo"]}))
    with Browser() as browser:
        browser.prefer(scheme)
        browser.resize(width, 800)
        sign_in(browser, server, "bob")
        more = [f"/delegate/{agent}", f"/connections/{CHAT}", f"/connections/{CHAT}/disconnect", "/activity?days=1&tool=none"]
        found = {}
        for path in [*PAGES, *more]:
            assert browser.open(server.url + path) == httpx.codes.OK, path
            name = path.strip("/").replace("/", "-").split("?")[0].replace(agent, "agent") or "acts"
            browser.screenshot(tmp_path / f"{name}-{width}-{scheme}.png")
            assert browser.fits(), path
            found |= {path: wrong} if (wrong := browser.inaccessible()) else {}
        assert found == {}
        if width == 360:
            browser.open(f"{server.url}/")
            browser.click("text=Menu")
            browser.wait_for("nav >> text=Connections")
            browser.screenshot(tmp_path / f"menu-{scheme}.png")
            assert browser.inaccessible() == []
            browser.click("nav >> text=Connections")
            browser.wait_for("h1 >> text=Connections")
        assert browser.complaints() == []


def test_the_keyboard_reaches_the_content_first_and_then_the_navigation(server: Server) -> None:
    with Browser() as browser:
        browser.resize(1280, 800)
        sign_in(browser, server, "bob")
        browser.press("Tab")
        assert "Skip to content" in browser.has_focus()
        browser.press("Enter")
        browser.press("Tab")
        assert "Delegate to an agent" in browser.has_focus()
