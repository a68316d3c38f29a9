"""A browser without scripts: it keeps cookies, follows redirects and sends forms. It sets people up; Chromium and raw
sockets measure."""

import html
import http.client
import re
import urllib.parse
from dataclasses import dataclass, field

from .http import Refused, Request

MOST_REDIRECTS = 10

_FORM = re.compile(r'<form[^>]* action="([^"]*)"')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


@dataclass
class Page:
    url: str
    text: str

    def form(self) -> tuple[str, dict[str, str]]:
        """Where the first form goes, and what it sends anyway."""
        action = _FORM.search(self.text)
        at = urllib.parse.urljoin(self.url, html.unescape(action[1])) if action else self.url
        return at, {html.unescape(name): html.unescape(value) for name, value in _HIDDEN.findall(self.text)}


@dataclass
class Browser:
    """Cookies are a host's (RFC 6265 section 8.5), and here there is one host."""

    cookies: dict[str, str] = field(default_factory=dict)

    def open(self, url: str) -> Page:
        return self._follow("GET", url, None)

    def press(self, page: Page, **fields: str) -> Page:
        """Sends the page's first form with a button's field."""
        action, hidden = page.form()
        return self._follow("POST", action, urllib.parse.urlencode({**hidden, **fields}))

    def _follow(self, method: str, url: str, body: str | None) -> Page:
        begun = urllib.parse.urlsplit(url).netloc
        for _ in range(MOST_REDIRECTS):
            status, location, text = self._ask(method, url, body)
            if location is None:
                if status != 200:
                    raise Refused(Request(url, method=method), status, text)
                return Page(url, text)
            method, url, body = "GET", urllib.parse.urljoin(url, location), None
            if urllib.parse.urlsplit(url).netloc != begun:
                return Page(url, "")  # an app's own address, where nothing listens
        raise RuntimeError(f"{url}: too many redirects")

    def _ask(self, method: str, url: str, body: str | None) -> tuple[int, str | None, str]:
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        headers = self.headers()
        if body is not None:
            headers |= {
                "content-type": "application/x-www-form-urlencoded",
                "sec-fetch-site": "same-origin",
                "origin": f"{parts.scheme}://{parts.netloc}",
            }
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body, headers)
            answer = connection.getresponse()
            self.keep(answer.headers.get_all("set-cookie") or [])
            return answer.status, answer.headers["location"], answer.read().decode()
        finally:
            connection.close()

    def headers(self) -> dict[str, str]:
        if not self.cookies:
            return {}
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def keep(self, set_cookies: list[str]) -> None:
        for set_cookie in set_cookies:
            name, _, value = set_cookie.split(";")[0].partition("=")
            if re.search(r"max-age=0\b", set_cookie, re.IGNORECASE):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
