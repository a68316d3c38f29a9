"""People who sign in at our demo, and the MCP client that they allow to call a server as them."""

import urllib.parse

from . import http
from .browser import Browser, Page
from .deputize import Deputize
from .http import Request

# Nothing listens there: what is sent there is read from the redirect.
REDIRECT_URI = "http://127.0.0.1:49151/callback"
# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def client_of(server: Deputize) -> str:
    """The `client_id` of a client that registers itself."""
    metadata = {
        "client_name": "bench",
        "redirect_uris": [REDIRECT_URI],
        "token_endpoint_auth_method": "none",
    }
    return http.post_json(f"{server.url}/api/v1/oauth/register", metadata).send()["client_id"]


def authorization_request(endpoint: str, client_id: str, **more: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "state": "bench",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **more,
    }
    return f"{endpoint}?{urllib.parse.urlencode(asked)}"


class Person:
    """Somebody who is signed in at our server, with a client of theirs."""

    def __init__(self, server: Deputize, client_id: str, email: str):
        self.server = server
        self.client_id = client_id
        self.browser = Browser()
        who = self.browser.open(f"{server.url}/sign-in?provider=demo")
        self.browser.press(who, email=email)

    def consent_page(self, server_id: str) -> Request:
        """The page that asks whether the client may call a server."""
        url = authorization_request(
            f"{self.server.url}/api/v1/oauth/authorize",
            self.client_id,
            resource=self.server.mcp_url(server_id),
        )
        return http.get(url, self.browser.headers())

    def code(self, server_id: str) -> str:
        page: Page = self.browser.open(self.consent_page(server_id).url)
        sent_to = self.browser.press(page, answer="allow").url
        return urllib.parse.parse_qs(urllib.parse.urlsplit(sent_to).query)["code"][0]

    def redemption(self, code: str) -> Request:
        return http.post_form(
            f"{self.server.url}/api/v1/oauth/token",
            grant_type="authorization_code",
            client_id=self.client_id,
            code=code,
            redirect_uri=REDIRECT_URI,
            code_verifier=VERIFIER,
        )

    def tokens(self, server_id: str) -> dict:
        """The tokens of a family of its own."""
        return self.redemption(self.code(server_id)).send()

    def refresh(self, refresh_token: str) -> Request:
        return http.post_form(
            f"{self.server.url}/api/v1/oauth/token",
            grant_type="refresh_token",
            client_id=self.client_id,
            refresh_token=refresh_token,
        )
