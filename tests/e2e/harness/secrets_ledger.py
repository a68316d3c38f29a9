"""Every secret that a suite sees, and everything that the servers print. No secret may be in the output."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx

# Fields of responses that contain a secret, at every endpoint.
_SECRET_FIELDS = {"access_token", "refresh_token", "client_secret", "secret", "api_key", "key"}
_LONG_ENOUGH_TO_BE_A_SECRET = 20

_JWT = re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")
_API_KEY = re.compile(r"\brl_[A-Za-z0-9_-]{20,}")
_CLIENT_SECRET = re.compile(r"\bdps_[A-Za-z0-9_-]{20,}")
_SHAPES = (("a JWT", _JWT), ("an API key", _API_KEY), ("a client secret", _CLIENT_SECRET))


def secrets_in(document: object) -> Iterator[tuple[str, str]]:
    """Walks through a JSON document, and yields each secret in it with the name of its field."""
    if isinstance(document, dict):
        for name, value in document.items():
            if (
                isinstance(value, str)
                and name in _SECRET_FIELDS
                and len(value) >= _LONG_ENOUGH_TO_BE_A_SECRET
            ):
                yield name, value
            else:
                yield from secrets_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from secrets_in(value)


class SecretsLedger:
    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}
        self._outputs: list[Callable[[], str]] = []

    def watch(self, output: Callable[[], str]) -> None:
        """Adds a server's output. It is a function, since the output still grows."""
        self._outputs.append(output)

    def add(self, name: str, value: str) -> None:
        self._secrets[value] = name
        if _JWT.fullmatch(value):
            # A log that cuts the header off still leaks the token. The signature alone identifies it.
            self._secrets[value.rsplit(".", 1)[1]] = f"signature of {name}"

    def add_key(self, name: str, key: bytes) -> None:
        """A key of bytes, in all forms in which it could be printed."""
        self.add(name, key.hex())
        self.add(name, base64.b64encode(key).decode().rstrip("="))
        self.add(name, base64.urlsafe_b64encode(key).decode().rstrip("="))
        self.add(name, ", ".join(str(byte) for byte in key))

    def add_callback(self, url: str) -> None:
        """The values in an authorization server's answer. Each is good for one connection."""
        query = parse_qs(urlsplit(url).query)
        self.add_all((name, value) for name in ("code", "state") for value in query.get(name, []))

    def add_all(self, secrets: Iterable[tuple[str, str]]) -> None:
        for name, value in secrets:
            self.add(name, value)

    def observe(self, response: httpx.Response) -> None:
        """An httpx response hook: keeps the secrets of each JSON answer."""
        if response.headers.get("content-type", "").startswith("application/json"):
            response.read()
            try:
                self.add_all(secrets_in(response.json()))
            except json.JSONDecodeError:
                return

    def __len__(self) -> int:
        return len(self._secrets)

    def values(self) -> list[tuple[str, str]]:
        return [(name, value) for value, name in self._secrets.items()]

    def printed(self) -> str:
        return "\n".join(output() for output in self._outputs)

    def leaks_in(self, text: str) -> list[str]:
        """The names of leaked secrets, without the secrets themselves."""
        known = [name for value, name in self._secrets.items() if value in text]
        shaped = [f"something that looks like {kind}" for kind, pattern in _SHAPES if pattern.search(text)]
        return known + shaped


LEDGER = SecretsLedger()
