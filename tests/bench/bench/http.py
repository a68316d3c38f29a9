"""Single requests with the standard library, to set things up. wrk makes the load."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field

# Loopback only: a proxy from the environment must not be used.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(RuntimeError):
    """An answer outside 2xx."""

    def __init__(self, request: "Request", status: int, body: str):
        super().__init__(f"{request.method} {request.url} answered {status}: {body[:400]}")
        self.status = status


@dataclass
class Request:
    """A request that can be sent once, or over and over by the load generator."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    method: str = "POST"

    def send(self):
        request = urllib.request.Request(
            self.url,
            method=self.method,
            headers=self.headers,
            data=None if self.body is None else self.body.encode(),
        )
        try:
            with opener.open(request, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise Refused(self, error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None


def get(url: str, headers: dict[str, str] | None = None) -> Request:
    return Request(url, headers or {}, None, "GET")


def post_json(url: str, body, headers: dict[str, str] | None = None) -> Request:
    return Request(url, {"content-type": "application/json", **(headers or {})}, json.dumps(body))


def post_form(url: str, **fields: str) -> Request:
    return Request(url, {"content-type": "application/x-www-form-urlencoded"}, urllib.parse.urlencode(fields))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
