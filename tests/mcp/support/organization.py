"""The demo organization with upstream servers that its agent may use, and a few things that it may not do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.api import all_pages, caller, done, obo_token, request_token
from harness.server import Server

MODERN = "modern"
HANDSHAKE = "everything"
# The conformance suite's server, by its eras.
CONFORMANCE_MODERN = "conformance-modern"
CONFORMANCE = "conformance-handshake"
CONFORMANCE_BOTH = "conformance-both"
# The first two servers again. At these, only tools are permitted.
MODERN_TOOLS = "modern-tools"
HANDSHAKE_TOOLS = "everything-tools"

_ALL_ACTIONS = '[Action::"call_tool", Action::"read_resource", Action::"get_prompt", Action::"send_request"]'

FORBIDDEN_TOOLS = {MODERN: "large", HANDSHAKE: "get-env"}
FORBIDDEN_RESOURCES = {MODERN: "image://dot", HANDSHAKE: "demo://resource/static/document/startup.md"}
FORBIDDEN_PROMPTS = {HANDSHAKE: "simple-prompt"}


@dataclass(frozen=True)
class Organization:
    server: Server
    agent_token: str
    alice_token: str
    bob_token: str

    @classmethod
    def found(cls, server: Server, upstreams: dict[str, str]) -> Organization:
        """Registers the servers (URLs by id) and the policies. At `…-tools` only tools are permitted."""
        demo = server.demo
        with caller(server, api_key=demo.ALICE_API_KEY) as admin:
            for server_id, url in upstreams.items():
                done(admin.post("/api/v1/servers", json={"id": server_id, "name": server_id, "url": url}))
            for name, policy in _policies(list(upstreams)):
                done(admin.post("/api/v1/policies", json={"name": name, "text": policy}))
        return cls(
            server,
            agent_token=done(request_token(server)).json()["access_token"],
            alice_token=obo_token(server, demo.USER_ID),
            bob_token=obo_token(server, demo.BOB_ID),
        )

    def url(self, server_id: str) -> str:
        return f"{self.server.url}/api/v1/proxy/{server_id}/mcp"

    def audit_events(self, **query: str) -> list[dict[str, Any]]:
        with caller(self.server, api_key=self.server.demo.ALICE_API_KEY) as admin:
            return all_pages(admin, "/api/v1/audit-events", **query)


def _policies(servers: list[str]) -> list[tuple[str, str]]:
    """Cedar policies by name."""
    whole = [server for server in servers if not server.endswith("-tools")]
    tools = [server for server in servers if server.endswith("-tools")]
    forbidden = (
        [f'Tool::"{server}/{name}"' for server, name in FORBIDDEN_TOOLS.items()]
        + [f'Resource::"{server}/{uri}"' for server, uri in FORBIDDEN_RESOURCES.items()]
        + [f'Prompt::"{server}/{name}"' for server, name in FORBIDDEN_PROMPTS.items()]
    )
    return (
        [
            (
                f"all of {server}",
                f'permit(principal, action in {_ALL_ACTIONS}, resource in Server::"{server}");',
            )
            for server in whole
        ]
        + [
            (
                f"tools of {server}",
                f'permit(principal, action == Action::"call_tool", resource in Server::"{server}");',
            )
            for server in tools
        ]
        + [
            (
                f"never {entity}",
                f"forbid(principal, action in {_ALL_ACTIONS}, resource == {entity});".replace("'", ""),
            )
            for entity in forbidden
        ]
    )
