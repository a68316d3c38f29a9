"""An app made with `oauth4webapi` or `openid-client`: `tests/upstreams/relying-party.mjs`."""

from __future__ import annotations

import json
from typing import Any

from harness.node_program import NodeProgram
from harness.secrets_ledger import LEDGER
from harness.server import Server

_LINE_DEADLINE_SECONDS = 60


class RelyingParty:
    """`with RelyingParty(…) as app:` ends it."""

    def __init__(
        self,
        server: Server,
        library: str,
        *,
        server_id: str,
        auth: str,
        discovery: str = "oauth2",
        client_id: str | None = None,
        client_secret: str | None = None,
    ) -> None:
        given = {"client-id": client_id, "client-secret": client_secret}
        self._program = NodeProgram(
            "relying-party.mjs",
            f"--library={library}",
            f"--issuer={server.url}",
            f"--resource={server.url}/api/v1/proxy/{server_id}/mcp",
            f"--discovery={discovery}",
            f"--auth={auth}",
            *(f"--{name}={value}" for name, value in given.items() if value is not None),
        )

    def _line(self, number: int) -> dict[str, Any]:
        line = self._program.stdout.line(number, _LINE_DEADLINE_SECONDS)
        assert line is not None, f"the app says nothing:\n{self._program.stderr.text()}"
        said = json.loads(line)
        assert "failed" not in said, said["failed"]
        return said

    def authorize_url(self) -> str:
        """The address that the app opens in its user's browser."""
        return self._line(0)["authorize"]

    def report(self) -> dict[str, Any]:
        """What the app has got and done, when the browser has come back to it."""
        report = self._line(1)["report"]
        LEDGER.add_all(tuple(pair) for pair in report.pop("secrets"))
        return report

    def __enter__(self) -> RelyingParty:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.end()
