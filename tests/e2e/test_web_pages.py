"""A web page in Chromium calls with its user's own JWT. A page of an allowed origin can; another one is blocked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.api import agent_token, all_pages, caller, done
from harness.browser import Browser
from harness.pages import Pages, ask
from harness.server import Server


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages() as pages:
        yield pages


@pytest.fixture
def server(tmp_path: Path, pages: Pages) -> Iterator[Server]:
    """A server that allows the pages of one origin."""
    environment = {"DEPUTIZE_ALLOWED_ORIGINS": pages.origin}
    with Server.start(tmp_path / "data", environment=environment) as server:
        yield server


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def bobs_jwt(server: Server) -> str:
    form = {"email": "bob@example.com", "password": server.demo.DEMO_PASSWORD}
    return done(httpx.post(f"{server.demo.DEMO_ISSUER}/token", data=form)).json()["access_token"]


def as_bearer(token: str, body: Any = None, method: str = "GET") -> dict[str, Any]:
    """The options of a `fetch`."""
    headers = {"authorization": f"Bearer {token}"}
    if body is None:
        return {"method": method, "headers": headers}
    return {
        "method": "POST",
        "headers": headers | {"content-type": "application/json"},
        "body": json.dumps(body),
    }


def tool(name: str, **arguments: str) -> dict[str, Any]:
    return {"tool_name": name, "arguments": arguments}


def tools_of(server: Server) -> str:
    return f"{server.url}/api/v1/proxy/{server.demo.SERVER_ID}/tools"


def test_a_page_of_an_allowed_origin_manages_calls_and_reads_what_went_wrong(
    server: Server, pages: Pages, browser: Browser, bobs_jwt: str
) -> None:
    browser.open(pages.origin)

    me = ask(browser, f"{server.url}/api/v1/me", **as_bearer(bobs_jwt))
    assert (me["status"], me["body"]["email"]) == (200, "bob@example.com")
    assert me["request_id"]

    delegations = f"{server.url}/api/v1/agent-accounts/{server.demo.AGENT_ACCOUNT_ID}/delegations"
    made = ask(browser, delegations, **as_bearer(bobs_jwt, {"server_ids": [server.demo.SERVER_ID]}))
    assert made["status"] in (200, 201), made
    path = f"{server.url}/api/v1/delegations/{made['body']['id']}"
    assert ask(browser, path, **as_bearer(bobs_jwt, method="DELETE"))["status"] == 204

    called = ask(browser, tools_of(server), **as_bearer(bobs_jwt, tool("list_repos", org="acme-corp")))
    assert called["status"] == 200
    assert "acme-corp has 5 repositories" in called["body"]["content"][0]["text"]

    forbidden = tool("delete_repo", org="acme-corp", repo="website")
    denied = ask(browser, tools_of(server), **as_bearer(bobs_jwt, forbidden))
    assert (denied["status"], denied["body"]["detail"]) == (403, "Policy denied")
    assert denied["request_id"]

    stranger = ask(browser, tools_of(server), **as_bearer("no-token", tool("list_repos", org="acme-corp")))
    assert (stranger["status"], stranger["body"]["error"]) == (401, "invalid_token")
    assert "resource_metadata=" in stranger["challenge"]


def test_a_page_of_another_origin_is_blocked_before_anything_is_called(
    server: Server, pages: Pages, browser: Browser, bobs_jwt: str
) -> None:
    alice = caller(server, api_key=server.demo.ALICE_API_KEY)
    before = all_pages(alice, "/api/v1/audit-events")
    browser.open(pages.other_origin)
    for url, options in (
        (f"{server.url}/api/v1/me", as_bearer(bobs_jwt)),
        (tools_of(server), as_bearer(bobs_jwt, tool("list_repos", org="acme-corp"))),
        # Even the answer to a request that a browser sends without a preflight cannot be read.
        (f"{server.url}/healthz", {}),
    ):
        assert ask(browser, url, **options) == {"blocked": "Failed to fetch"}, url
    assert all_pages(alice, "/api/v1/audit-events") == before
    assert any("CORS" in complaint for complaint in browser.complaints())

    metadata = ask(browser, f"{server.url}/.well-known/oauth-authorization-server")
    assert metadata["body"]["issuer"] == server.url


def test_an_agent_account_may_be_kept_out_of_pages_and_a_page_reads_that_it_is(
    server: Server, pages: Pages, browser: Browser
) -> None:
    alice = caller(server, api_key=server.demo.ALICE_API_KEY)
    token = agent_token(server)
    account = f"/api/v1/agent-accounts/{server.demo.AGENT_ACCOUNT_ID}"
    call = as_bearer(token, tool("list_repos", org="acme-corp"))
    browser.open(pages.origin)
    assert ask(browser, tools_of(server), **call)["status"] == 200

    done(alice.patch(account, json={"allowed_origins": []}))
    refused = ask(browser, tools_of(server), **call)
    assert (refused["status"], refused["body"]["error"]) == (403, "access_denied")
    assert refused["body"]["detail"].startswith("The agent account may not be used from this origin")

    done(alice.patch(account, json={"allowed_origins": [pages.origin]}))
    assert ask(browser, tools_of(server), **call)["status"] == 200
