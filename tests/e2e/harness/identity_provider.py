"""A real identity provider, by which people sign in: `tests/upstreams/identity-provider.mjs`."""

from __future__ import annotations

import json
import secrets
import socket

from harness.node_program import NodeProgram
from harness.secrets_ledger import LEDGER
from harness.server import START_DEADLINE_SECONDS

CLIENT_ID = "deputize"
PROVIDER_ID = "acme"


def free_port() -> int:
    """A port for the service, whose address the provider must know before the service starts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class IdentityProvider:
    """`with IdentityProvider(service_url) as provider:` ends it."""

    def __init__(self, service: str) -> None:
        self._secret = secrets.token_urlsafe(32)
        LEDGER.add_all([("the client secret at the identity provider", self._secret)])
        self._program = NodeProgram(
            "identity-provider.mjs",
            f"--service={service}",
            f"--client-id={CLIENT_ID}",
            f"--client-secret={self._secret}",
            f"--provider={PROVIDER_ID}",
        )
        ready = self._program.stdout.line_starting_with("{", START_DEADLINE_SECONDS)
        if ready is None:
            self.__exit__()
            raise AssertionError(f"the identity provider did not become ready:\n{self._program.stderr.text()}")
        self.issuer: str = json.loads(ready)["issuer"]

    def environment(self) -> dict[str, str]:
        """The service's configuration, in which people sign in by this provider."""
        issuer = {
            "issuer": self.issuer,
            "provision": True,
            "groups_claim": "groups",
            "sign_in": {
                "client_id": CLIENT_ID,
                "id": PROVIDER_ID,
                "name": "Acme",
                "scope": "openid profile email groups",
            },
        }
        return {
            "DEPUTIZE_TRUSTED_ISSUERS": json.dumps([issuer]),
            "DEPUTIZE_SIGN_IN_SECRETS": json.dumps({PROVIDER_ID: self._secret}),
        }

    def errors(self) -> list[str]:
        """What it has complained of, beside what it says at every start."""
        return [line for line in self._program.stderr.text().splitlines() if "oidc-provider WARNING" not in line]

    def __enter__(self) -> IdentityProvider:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.end()
