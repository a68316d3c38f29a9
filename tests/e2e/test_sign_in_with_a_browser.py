"""A person signs in with Chromium, by `oidc-provider` and by the demo's own provider. `--basetemp` keeps the
screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness.api import caller, done
from harness.apps import App, Callback, register
from harness.browser import Browser
from harness.demo_env import DemoEnv
from harness.identity_provider import PROVIDER_ID, IdentityProvider, free_port
from harness.server import Server

ALICE = 'button[value="alice@example.com"]'


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        # Wide enough for the navigation, which names the person.
        browser.resize(1280, 800)
        yield browser


@pytest.fixture
def provider_and_server(tmp_path: Path) -> Iterator[tuple[IdentityProvider, Server]]:
    port = free_port()
    with IdentityProvider(f"http://127.0.0.1:{port}") as provider:
        environment = provider.environment()
        with Server.start(tmp_path / "data", port=port, environment=environment) as server:
            yield provider, server


def sign_in_by_acme(browser: Browser, server: Server, login: str) -> None:
    browser.open(f"{server.url}/")
    browser.click("text=Acme")
    browser.fill("#login", login)
    browser.click("#sign-in")
    browser.click("#allow")
    browser.wait_for("text=can act as you now")


def test_one_click_signs_in_as_alice_in_the_demo(
    server: Server, demo: DemoEnv, browser: Browser, tmp_path: Path
) -> None:
    browser.open(f"{server.url}/")
    browser.wait_for(ALICE)
    browser.screenshot(tmp_path / "demo.png")
    browser.click(ALICE)
    browser.wait_for("text=can act as you now")
    assert browser.url == f"{server.url}/"
    assert "alice@example.com" in browser.text()
    browser.screenshot(tmp_path / "home.png")
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    assert len(alice.get("/api/v1/me/browser-sessions").json()) == 1
    browser.click("text=Sign out")
    browser.wait_for("text=Signed out")
    browser.screenshot(tmp_path / "signed-out.png")
    assert alice.get("/api/v1/me/browser-sessions").json() == []
    assert browser.complaints() == [], "the pages' policy permits all that they are made of"


@pytest.mark.parametrize(("name", "role"), [("erin", "auditor"), ("frank", "operator")])
def test_the_auditor_and_the_operator_are_on_the_demos_page_too(
    server: Server, demo: DemoEnv, browser: Browser, name: str, role: str
) -> None:
    browser.open(f"{server.url}/")
    browser.click(f'button[value="{name}@example.com"]')
    browser.wait_for("text=can act as you now")
    person = caller(server, api_key=demo[f"{name.upper()}_API_KEY"])
    me = done(person.get("/api/v1/me")).json()
    assert (me["email"], me["role"]) == (f"{name}@example.com", role)
    assert len(done(person.get("/api/v1/me/browser-sessions")).json()) == 1


def test_a_new_address_becomes_a_user_and_another_name_of_this_machine_leads_to_the_same_place(
    server: Server, demo: DemoEnv, browser: Browser
) -> None:
    browser.open(f"http://localhost:{server.port}/")
    browser.fill("#new", "dora@example.com")
    browser.click("text=Sign in")
    browser.wait_for("text=can act as you now")
    assert browser.url == f"{server.url}/"
    users = caller(server, api_key=demo.ALICE_API_KEY).get("/api/v1/users").json()
    assert "dora@example.com" in [user["email"] for user in users]


def test_a_person_signs_in_by_a_real_provider_and_out_at_both(
    provider_and_server: tuple[IdentityProvider, Server], browser: Browser, tmp_path: Path
) -> None:
    provider, server = provider_and_server
    browser.open(f"{server.url}/")
    browser.wait_for("text=By which account of yours?")
    browser.screenshot(tmp_path / "choice.png")
    sign_in_by_acme(browser, server, "dora")
    assert "dora@example.com" in browser.text()
    alice = caller(server, api_key=server.demo.ALICE_API_KEY)
    dora = next(user for user in alice.get("/api/v1/users").json() if user["email"] == "dora@example.com")
    assert [said["groups"] for said in dora["claims"]] == [["staff"]]
    assert dora["identities"] == [{"issuer": provider.issuer, "subject": "dora"}]

    browser.click("text=Sign out")
    browser.click("#logout")
    browser.wait_for("text=This browser is no longer signed in here.")
    assert browser.url.startswith(f"{server.url}/sign-out")
    # The provider asks who one is again.
    browser.open(f"{server.url}/sign-in?provider={PROVIDER_ID}")
    browser.wait_for("#login")
    assert provider.errors() == []
    assert [what for what in browser.complaints() if server.url in what] == []


def test_the_providers_back_channel_ends_the_session_here(
    provider_and_server: tuple[IdentityProvider, Server], browser: Browser
) -> None:
    provider, server = provider_and_server
    sign_in_by_acme(browser, server, "bob")
    browser.open(f"{provider.issuer}/session/end")
    browser.click("#logout")
    browser.wait_for("#done")
    browser.open(f"{server.url}/")
    browser.wait_for("text=By which account of yours?")
    assert provider.errors() == []


def test_the_back_channel_ends_one_browsers_session_and_no_app(
    provider_and_server: tuple[IdentityProvider, Server], browser: Browser
) -> None:
    provider, server = provider_and_server
    sign_in_by_acme(browser, server, "dora")
    with Callback() as callback, Browser() as elsewhere:
        elsewhere.resize(1280, 800)
        sign_in_by_acme(elsewhere, server, "dora")
        metadata = {"redirect_uris": [callback.uri], "token_endpoint_auth_method": "none"}
        app = App(server, register(server, metadata)["client_id"], callback.uri)
        asked = app.ask(resource=f"{server.url}/api/v1", scope="manage offline_access")
        browser.open(asked.url)
        browser.click('button[value="allow"]')
        browser.wait_for("#there")
        app.redeem(asked, callback.answer())

        browser.open(f"{provider.issuer}/session/end")
        browser.click("#logout")
        browser.wait_for("#done")
        browser.open(f"{server.url}/")
        browser.wait_for("text=By which account of yours?")
        # The provider named the session that ended. Dora's other browser has another one.
        elsewhere.open(f"{server.url}/")
        assert "dora@example.com" in elsewhere.text()
        elsewhere.open(f"{server.url}/apps")
        assert "A program on your computer" in elsewhere.text()
    app.refresh()
    with caller(server, token=app.tokens["access_token"]) as client:
        assert done(client.get("/api/v1/me")).json()["email"] == "dora@example.com"
    assert provider.errors() == []


def test_an_app_can_have_its_user_prove_again_who_they_are(
    provider_and_server: tuple[IdentityProvider, Server], browser: Browser
) -> None:
    provider, server = provider_and_server
    sign_in_by_acme(browser, server, "dora")
    with Callback() as callback:
        metadata = {"redirect_uris": [callback.uri], "token_endpoint_auth_method": "none"}
        app = App(server, register(server, metadata)["client_id"], callback.uri)
        asked = app.ask(prompt="login")
        browser.open(asked.url)
        browser.click("text=Acme")
        # The provider has a session of hers, and asks all the same.
        browser.fill("#login", "dora")
        browser.click("#sign-in")
        browser.click('button[value="allow"]')
        browser.wait_for("#there")
        app.redeem(asked, callback.answer())
    assert provider.errors() == []


def test_a_person_who_declines_at_the_provider_is_not_signed_in(
    provider_and_server: tuple[IdentityProvider, Server], browser: Browser
) -> None:
    provider, server = provider_and_server
    browser.open(f"{server.url}/")
    browser.click("text=Acme")
    browser.fill("#login", "dora")
    browser.click("#sign-in")
    browser.click("#decline")
    browser.wait_for("text=You are not signed in")
    browser.open(f"{server.url}/")
    browser.wait_for("text=By which account of yours?")
    assert provider.errors() == []


def test_going_back_to_the_callback_signs_nobody_in_again(
    provider_and_server: tuple[IdentityProvider, Server], browser: Browser
) -> None:
    _, server = provider_and_server
    sign_in_by_acme(browser, server, "dora")
    callbacks = [a["url"] for a in browser.answers() if "/sign-in/callback/" in a["url"]]
    assert len(callbacks) == 1
    assert browser.open(callbacks[0]) == httpx.codes.BAD_REQUEST
    assert "You are not signed in" in browser.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_fit_a_phone_and_a_desk_in_the_light_and_in_the_dark(
    provider_and_server: tuple[IdentityProvider, Server],
    browser: Browser,
    tmp_path: Path,
    scheme: str,
    width: int,
) -> None:
    _, server = provider_and_server
    browser.prefer(scheme)
    browser.resize(width, 800)
    for name, path in [
        ("choice", "/sign-in"),
        ("demo", "/sign-in?provider=demo"),
        ("error", "/sign-in/callback/demo?state=x"),
        ("signed-out", "/sign-out"),
    ]:
        browser.open(server.url + path)
        browser.screenshot(tmp_path / f"{name}-{width}-{scheme}.png")
        assert browser.fits(), name
    browser.open(f"{server.url}/sign-in?provider=demo")
    browser.click(ALICE)
    browser.wait_for("text=can act as you now")
    browser.screenshot(tmp_path / f"home-{width}-{scheme}.png")
    assert browser.fits()
