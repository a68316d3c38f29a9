"""A person at a browser, without the browser: cookies, redirects and forms."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from emulated.deployment import Deployment
from emulated.identity_provider import PROVIDER_ID

# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "http://127.0.0.1:51789/callback"


@dataclass
class Person:
    deployment: Deployment
    email: str
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(verify=False, timeout=60)

    @property
    def url(self) -> str:
        return self.deployment.url

    def sign_in(self) -> Person:
        """By the organization's provider, which signs them in."""
        begun = self.http.get(f"{self.url}/sign-in", params={"provider": PROVIDER_ID})
        back = self.deployment.provider.consent(sent_to(begun), self.email)
        came = self.http.get(back)
        assert sent_to(came) == f"{self.url}/", came.text
        return self

    def home(self) -> str:
        return self.http.get(f"{self.url}/").text

    def press(self, page: httpx.Response, answer: str = "allow") -> httpx.Response:
        """What a page's form sends."""
        assert page.status_code == 200, page.text
        action = re.search(r'<form[^>]* action="([^"]*)"', page.text)
        # Without an action, the form goes to the page's own address.
        to = urljoin(self.url, html.unescape(action[1])) if action else str(page.url)
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
        fields = {name: html.unescape(value) for name, value in hidden} | {"answer": answer}
        host = urlsplit(self.url)
        headers = {"origin": f"{host.scheme}://{host.netloc}", "sec-fetch-site": "same-origin"}
        return self.http.post(to, data=fields, headers=headers)

    def open(self, path: str) -> httpx.Response:
        """One of the console's pages."""
        page = self.http.get(self.url + path)
        assert page.status_code == 200, page.text
        return page

    def send(self, page: httpx.Response, path: str, **filled_in: str) -> httpx.Response:
        """What the form of a page sends that goes there; the first of them that has all of these fields."""
        forms = re.findall(r'<form method="post" action="([^"]*)">(.*?)</form>', page.text, re.DOTALL)
        named = [f'name="{name}"' for name in filled_in]
        form = next(form for to, form in forms if to.endswith(path) and all(name in form for name in named))
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
        fields = {name: html.unescape(value) for name, value in hidden} | filled_in
        host = urlsplit(self.url)
        headers = {"origin": f"{host.scheme}://{host.netloc}", "sec-fetch-site": "same-origin"}
        return self.http.post(self.url + path, data=fields, headers=headers)

    def asked_by(self, client_id: str, redirect_uri: str, **more: str) -> httpx.Response:
        """The page that asks whether an app may."""
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "any",
        }
        return self.http.get(f"{self.url}/api/v1/oauth/authorize", params=asked | more)

    def code(self, client_id: str, redirect_uri: str, **more: str) -> str:
        """Allows an app what it asks, and answers the code that its redirect gets."""
        back = sent_to(self.press(self.asked_by(client_id, redirect_uri, **more)))
        assert back.startswith(redirect_uri), back
        answer = parse_qs(urlsplit(back).query)
        assert answer["iss"] == [self.url]
        return answer["code"][0]

    def redeem(self, client_id: str, code: str, redirect_uri: str, **proof: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": VERIFIER,
        }
        return self.http.post(f"{self.url}/token", data=form | proof)

    def refresh(self, client_id: str, token: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": token}
        return self.http.post(f"{self.url}/api/v1/oauth/token", data=form)


def sent_to(response: httpx.Response) -> str:
    """Where the browser is sent."""
    assert response.status_code == 303, response.text
    return response.headers["location"]
