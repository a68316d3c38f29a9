"""A real OAuth-protected MCP server and its authorization server: `tests/upstreams/protected-server.mjs`."""

from __future__ import annotations

import json
from typing import Any

import httpx

from harness.node_program import NodeProgram
from harness.secrets_ledger import LEDGER
from harness.server import START_DEADLINE_SECONDS
from harness.waiting import wait_until

_TIMEOUT_SECONDS = 30
# An access token's life in seconds: very short, or longer than a test.
SHORT, LONG = 1, 3600


class Protected:
    """One such pair. `with Protected.start() as protected:` ends it."""

    def __init__(self, program: NodeProgram) -> None:
        self._program = program
        ready = self._program.stdout.line_starting_with("{", START_DEADLINE_SECONDS)
        if ready is None:
            self._program.end()
            raise AssertionError(f"the protected server did not become ready:\n{self._program.stderr.text()}")
        at = json.loads(ready)
        self.issuer: str = at["issuer"]
        self.mcp: str = at["mcp"]
        self._control = httpx.Client(base_url=at["control"], timeout=_TIMEOUT_SECONDS)

    @classmethod
    def start(cls, *, access_token_ttl: int = LONG, flags: tuple[str, ...] = ()) -> Protected:
        return cls(NodeProgram("protected-server.mjs", f"--access-token-ttl={access_token_ttl}", *flags))

    def __enter__(self) -> Protected:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            LEDGER.add_all(self.secrets())
        finally:
            self._control.close()
            self._program.end()

    def state(self) -> dict[str, Any]:
        """The history: `state` in protected-server.mjs."""
        return self._control.get("/").raise_for_status().json()

    def change(self, **what: Any) -> None:
        """Changes the behaviour from now on: `change` in protected-server.mjs."""
        self._control.post("/", json=what).raise_for_status()

    def secrets(self) -> list[tuple[str, str]]:
        """All tokens and client secrets that the authorization server has given out so far."""
        return [tuple(pair) for pair in self._control.get("/secrets").raise_for_status().json()]

    def refreshes(self) -> dict[str, int]:
        """How many refreshes the authorization server has answered, by result."""
        return self.state()["token_requests"].get("refresh_token", {})

    def unseen(self, fault: str) -> int:
        """How many token requests failed before the authorization server saw them."""
        return self.state()["unseen_token_requests"].get(fault, 0)

    def families(self, account: str) -> list[tuple[bool, int]]:
        """Each of the account's consents that gave refresh tokens: whether it is alive, and how often it was
        refreshed."""
        families = self.state()["families"]
        return [(f["alive"], f["rotations"]) for f in families if f["account"] == account]

    def wait_until_held(self, requests: int) -> None:
        """Waits until this many token requests are held."""
        wait_until(
            f"{requests} token requests are held", lambda: self.state()["held_token_requests"] == requests
        )
