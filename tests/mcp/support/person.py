"""A person with a browser: signs in with one click, reads the consent page, and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from harness.api import all_pages, caller, done
from harness.browser import Browser
from harness.server import Server
from support.desk_clients import Desk

BOB = "bob@example.com"
ALLOW, DENY = 'button[value="allow"]', 'button[value="deny"]'


@dataclass
class Person:
    """Bob. The browser is shared by the tests, but nobody is signed in in it when a test begins."""

    server: Server
    browser: Browser

    def url(self, server_id: str) -> str:
        """What Bob pastes into a client."""
        return f"{self.server.url}/api/v1/proxy/{server_id}/mcp"

    def sign_in(self, address: str) -> str:
        """Opens what a client asked to open, signs in, and reads the page that follows."""
        self.browser.open(address)
        self.browser.click(f'button[value="{BOB}"]')
        return self.read()

    def look(self, address: str) -> str:
        """The same in a browser that is signed in already."""
        self.browser.open(address)
        return self.read()

    def read(self) -> str:
        self.browser.wait_for(ALLOW)
        return self.browser.text()

    def allow(self) -> None:
        self.browser.click(ALLOW)

    def deny(self) -> None:
        self.browser.click(DENY)

    def sign_in_at_demo_chat(self) -> None:
        """At the demo's authorization server: Bob's account there, and what it may be used for."""
        self.browser.click("#bob")
        self.browser.fill("#password", self.server.demo.DEMO_PASSWORD)
        self.browser.click("#allow")

    def _api(self) -> httpx.Client:
        return caller(self.server, api_key=self.server.demo.BOB_API_KEY)

    def authorizations(self) -> list[dict[str, Any]]:
        with self._api() as bob:
            return all_pages(bob, "/api/v1/authorizations")

    def revoke_all(self) -> None:
        with self._api() as bob:
            for authorization in all_pages(bob, "/api/v1/authorizations"):
                done(bob.delete(f"/api/v1/authorizations/{authorization['id']}"))

    def disconnect(self, server_id: str) -> None:
        with self._api() as bob:
            answer = bob.delete(f"/api/v1/servers/{server_id}/connection")
            assert answer.status_code in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND), answer.text

    def end_access_token(self, desk: Desk) -> None:
        """Its hour is over: the access token that the client keeps is revoked, and nothing else (RFC 7009)."""
        form = {"token": desk.kept("access_token"), "client_id": desk.kept("client_id")}
        done(httpx.post(f"{self.server.url}/api/v1/oauth/revoke", data=form))

    def trail(self, **query: str) -> list[dict[str, Any]]:
        with caller(self.server, api_key=self.server.demo.ALICE_API_KEY) as alice:
            return all_pages(alice, "/api/v1/audit-events", user_id=self.server.demo.BOB_ID, **query)


def parameter(address: str, name: str) -> str:
    (value,) = parse_qs(urlsplit(address).query)[name]
    return value


def origin(url: str) -> str:
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))
