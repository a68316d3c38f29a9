"""`oauth4webapi` and `openid-client`, unmodified and with all of their checks, as apps that act as their user:
discovery, registration, PKCE, `iss`, code, refresh, introspection, revocation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from harness.api import caller, done
from harness.browser import Browser
from harness.relying_party import RelyingParty
from harness.server import Server

LIBRARIES = ("oauth4webapi", "openid-client")
ALICE = 'button[value="alice@example.com"]'
ALLOW = 'button[value="allow"]'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.start(tmp_path_factory.mktemp("relying-parties") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def browser(server: Server) -> Iterator[Browser]:
    """Alice is signed in there."""
    with Browser() as browser:
        browser.open(f"{server.url}/")
        browser.click(ALICE)
        browser.wait_for("text=can act as you now")
        yield browser


def both(server: Server, browser: Browser, **how: Any) -> dict[str, dict[str, Any]]:
    """What the two libraries report. They run side by side, and their user allows one after the other."""
    with ExitStack() as stack:
        parties = [RelyingParty(server, name, server_id=server.demo.SERVER_ID, **how) for name in LIBRARIES]
        for party in parties:
            stack.enter_context(party)
        for party in parties:
            browser.open(party.authorize_url())
            browser.click(ALLOW)
            browser.wait_for("#there")
        return dict(zip(LIBRARIES, [party.report() for party in parties], strict=True))


@pytest.mark.parametrize("auth", ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_an_app_that_registers_itself_gets_uses_and_gives_back_its_tokens(
    server: Server, browser: Browser, auth: str
) -> None:
    demo = server.demo
    resource = f"{server.url}/api/v1/proxy/{demo.SERVER_ID}/mcp"
    # A public app introspects nothing.
    introspects = auth != "none"
    # Both addresses of the metadata are read by one of the ways to prove oneself.
    discovery = "oidc" if auth == "client_secret_post" else "oauth2"
    for library, report in both(server, browser, auth=auth, discovery=discovery).items():
        claims, introspected = report.pop("claims"), report.pop("introspected")
        assert report.pop("client_id").startswith("dyn.")
        assert report == {
            "token_type": "bearer",
            "scope": "tools:call offline_access",
            "expires_in": 3600,
            "called": 200,
            "rotated": True,
            "called_again": 200,
            "after_revocation": {
                "introspected": {"active": False} if introspects else None,
                "refresh": "invalid_grant",
                "call": "invalid_token",
            },
        }, library
        if library == "oauth4webapi":
            assert (claims["iss"], claims["aud"], claims["sub"]) == (server.url, resource, demo.USER_ID)
        if introspects:
            assert introspected["active"] is True
            assert (introspected["aud"], introspected["sub"]) == (resource, demo.USER_ID)
            assert introspected["exp"] - introspected["iat"] == 3600


def test_an_app_that_an_admin_registered_proves_itself_with_its_secret(
    server: Server, browser: Browser
) -> None:
    new = {"name": "Payroll", "redirect_uris": ["http://127.0.0.1/callback"], "auth_method": "client_secret"}
    made = done(caller(server, api_key=server.demo.ALICE_API_KEY).post("/api/v1/apps", json=new)).json()
    known = {name: made[name] for name in ("client_id", "client_secret")}
    for library, report in both(server, browser, auth="client_secret_basic", **known).items():
        assert (report["called"], report["called_again"]) == (200, 200), library
        assert report["introspected"]["client_id"] == made["client_id"], library
        assert report["after_revocation"]["refresh"] == "invalid_grant", library
