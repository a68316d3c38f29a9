"""Clients that cannot run here, played by their documentation and by what was seen of them: hosted ones, and programs
that take their answer by a scheme of their own. The service is asked by the real protocol, and a real browser goes
between.

- Claude: <https://claude.com/docs/connectors/building/authentication>,
  <https://support.claude.com/en/articles/11503834-building-custom-connectors-via-remote-mcp-servers>
- ChatGPT: <https://developers.openai.com/apps-sdk/build/auth>; its document is quoted in
  <https://github.com/Altinity/altinity-mcp/issues/118>
- Cursor: its three redirect URIs are quoted in <https://github.com/erp-mafia/accounted/pull/2225>
- VS Code: `fetchDynamicRegistration` in <https://github.com/microsoft/vscode/blob/main/src/vs/base/common/oauth.ts>
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jwt.algorithms
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness.api import done
from harness.apps import App, Callback, register
from harness.browser import Browser
from harness.hosted import Hosts
from harness.server import Server

ALICE = 'button[value="alice@example.com"]'
ALLOW = 'button[value="allow"]'
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with Hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def server(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DEPUTIZE_CA_BUNDLE": str(hosts.authority)}
    data = tmp_path_factory.mktemp("documented") / "data"
    with Server.start(data, environment=environment) as server:
        yield server


@pytest.fixture(scope="module")
def browser(server: Server, hosts: Hosts) -> Iterator[Browser]:
    with Browser({host: hosts.port for host in ("claude.ai", "chatgpt.com", "vscode.dev")}) as browser:
        sign_in_as_alice(browser, server)
        yield browser


def sign_in_as_alice(browser: Browser, server: Server) -> None:
    browser.open(f"{server.url}/")
    browser.click(ALICE)
    browser.wait_for("text=can act as you now")


def mcp_address(server: Server) -> str:
    """What a person pastes into a client."""
    return f"{server.url}/api/v1/proxy/{server.demo.SERVER_ID}/mcp"


def calls(app: App) -> bool:
    """Whether the demo's server answers the app's call."""
    answer = app.call_tool(app.server.demo.SERVER_ID, "list_repos", org="acme-corp")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return False
    return not done(answer).json()["result"].get("isError")


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def test_claude_is_registered_and_keeps_its_tokens_though_it_refreshes_twice_from_several_addresses(
    server: Server, hosts: Hosts, browser: Browser
) -> None:
    callback = "https://claude.ai/api/mcp/auth_callback"
    registered = register(
        server,
        {
            "client_name": "Claude",
            "redirect_uris": [callback],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        },
    )
    app = App(server, registered["client_id"], callback, address="127.0.0.2")
    # The resource is the origin, with the slash that URLs get (https://github.com/anthropics/claude-code/issues/52871);
    # scopes are an OpenID provider's (https://github.com/anthropics/claude-code/issues/10572).
    origin = f"{server.url}/"
    asked = app.ask(resource=origin, scope="openid profile email offline_access", prompt="consent")
    browser.open(asked.url)
    page = browser.text()
    assert "Let an app at claude.ai use every server as you?" in page
    assert "Unverified" in page
    browser.click(ALLOW)
    browser.wait_for("#there")
    app.redeem(asked, hosts.came_back(callback), resource=origin)
    assert (app.tokens["scope"], app.tokens["expires_in"]) == ("tools:call offline_access", 3600)
    assert calls(app)

    # It refreshes from two of its addresses with one token, each time, and has read one of the answers only
    # (https://github.com/PrefectHQ/fastmcp/issues/4264).
    for _ in range(3):
        before = app.tokens["refresh_token"]
        answers = [done(app.try_refresh(before, address=f"127.0.0.{n}")).json() for n in (3, 4)]
        assert answers[0]["refresh_token"] == answers[1]["refresh_token"] != before
        for answer in answers:
            app.tokens = answer
            assert calls(app)
    # The one that was sent twice comes once more, after its successor was used.
    app.refresh()
    late = done(app.try_refresh(before, address="127.0.0.5")).json()
    assert late["refresh_token"] == app.tokens["refresh_token"]

    # By this error Claude knows that it has to register anew.
    app.client_id = "dyn.bm90IHJlZ2lzdGVyZWQ.aGVyZQ"
    assert refusal(app.try_refresh(before)) == (401, "invalid_client")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_chatgpt_is_known_by_its_document_and_signs_each_token_request(
    server: Server, hosts: Hosts, browser: Browser, algorithm: str
) -> None:
    key: Any
    if algorithm == "RS256":
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())
    kid = f"cimd-{algorithm}"
    callback = f"https://chatgpt.com/connector/oauth/{algorithm}"
    document, keys = f"/oauth/{algorithm}/client.json", f"/oauth/{algorithm}/jwks.json"
    hosts.documents[keys] = {"keys": [json.loads(public) | {"kid": kid, "use": "sig", "alg": algorithm}]}
    hosts.documents[document] = {
        "client_id": hosts.url(document),
        "client_uri": "https://chatgpt.com/",
        "redirect_uris": [callback],
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": "ChatGPT",
        "logo_uri": hosts.url("/logo.png"),
        "token_endpoint_auth_signing_alg": algorithm,
        "jwks_uri": hosts.url(keys),
    }
    app = App(server, hosts.url(document), callback, key=key, algorithm=algorithm, kid=kid)
    asked = app.ask(resource=mcp_address(server), scope="tools:call")
    browser.open(asked.url)
    assert "It calls itself “ChatGPT”." in browser.text()
    browser.click(ALLOW)
    browser.wait_for("#there")
    answer = hosts.came_back(callback)
    app.redeem(asked, answer, resource=mcp_address(server))
    assert calls(app)
    first = app.tokens["refresh_token"]
    app.refresh(resource=mcp_address(server))
    assert calls(app)

    # Who has only its public id and a refresh token gets nothing, by no proof or by another key.
    last = app.tokens["refresh_token"]
    other = ec.generate_private_key(ec.SECP256R1())
    for thief in (
        App(server, app.client_id, callback),
        App(server, app.client_id, callback, key=other, algorithm="ES256", kid=kid),
    ):
        for token in (first, last):
            assert refusal(thief.try_refresh(token)) == (401, "invalid_client")
    app.refresh()
    assert not [url for url in hosts.asked if url.endswith("/logo.png")], "no logo is loaded from elsewhere"


@pytest.fixture
def browser_of_its_own(server: Server) -> Iterator[Browser]:
    """Chromium takes no more clicks once it has asked whether to open another program."""
    with Browser() as browser:
        sign_in_as_alice(browser, server)
        yield browser


def test_cursor_registers_three_addresses_at_once_and_takes_its_answer_by_its_own_scheme(
    server: Server, browser_of_its_own: Browser
) -> None:
    browser = browser_of_its_own
    own = "cursor://anysphere.cursor-mcp/oauth/callback"
    uris = [own, "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"]
    registered = register(
        server,
        {
            "client_name": "Cursor",
            "redirect_uris": uris,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        },
    )
    assert registered["redirect_uris"] == uris
    assert "client_secret" not in registered
    app = App(server, registered["client_id"], own)
    asked = app.ask(resource=mcp_address(server))
    browser.open(asked.url)
    page = browser.text()
    assert "Let a program on this computer use" in page
    assert "It calls itself “Cursor”. Any program can use that name." in page
    browser.click(ALLOW)
    app.redeem(asked, browser.goes_to(own))
    assert calls(app)
    app.refresh()
    assert calls(app)
    # The page's policy does not hold the redirect up: Chromium would apply `form-action` to it.
    assert [what for what in browser.complaints() if "Content Security Policy" in what] == []


@pytest.mark.parametrize("place", ["another port of this computer", "vscode.dev"])
def test_vs_code_registers_with_a_grant_that_does_not_exist_here_and_comes_back_where_it_can(
    server: Server, hosts: Hosts, browser: Browser, place: str
) -> None:
    registered = register(
        server,
        {
            "client_name": "Visual Studio Code",
            "client_uri": "https://code.visualstudio.com",
            "grant_types": ["authorization_code", "refresh_token", DEVICE_CODE],
            "response_types": ["code"],
            "redirect_uris": [
                "https://insiders.vscode.dev/redirect",
                "https://vscode.dev/redirect",
                "http://127.0.0.1/",
                "http://127.0.0.1:33418/",
            ],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        },
    )
    assert registered["grant_types"] == ["authorization_code", "refresh_token"]
    with Callback("/") as callback:
        # With a second window open its port is taken (https://github.com/microsoft/vscode/issues/278512).
        is_here = place != "vscode.dev"
        uri = callback.uri if is_here else "https://vscode.dev/redirect"
        app = App(server, registered["client_id"], uri)
        asked = app.ask(resource=mcp_address(server), scope="tools:call")
        browser.open(asked.url)
        who = "a program on this computer" if is_here else "an app at vscode.dev"
        assert f"Let {who} use" in browser.text()
        browser.click(ALLOW)
        browser.wait_for("#there")
        app.redeem(asked, callback.answer() if is_here else hosts.came_back(uri))
    assert calls(app)
    app.refresh()
    assert calls(app)
