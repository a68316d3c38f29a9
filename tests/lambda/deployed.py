"""The functions of one deployment, and the cookbook's calls to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.demo_env import DemoEnv
from harness.function import Function
from harness.gateway import Answer, Request, Shape, answer, rest_api
from harness.secrets_ledger import LEDGER, secrets_in
from support.organization import Organization


@dataclass
class Deployed:
    organization: Organization
    environment: dict[str, str]
    _running: dict[str, Function] = field(default_factory=dict)

    @property
    def demo(self) -> DemoEnv:
        return self.organization.server.demo

    def function(self, name: str) -> Function:
        """`token`, `delegations`, `grants`, `proxy` or `admin`, running."""
        if name not in self._running:
            self._running[name] = self.start(name)
        return self._running[name]

    def start(self, name: str, **variables: str) -> Function:
        """Another process with other variables. The caller ends it."""
        LEDGER.add("DEPUTIZE_VAULT_KEY", self.environment["DEPUTIZE_VAULT_KEY"])
        function = Function(f"deputize-{name}", self.environment | variables)
        LEDGER.watch(function.output.text)
        return function

    def ask(self, name: str, request: Request, shape: Shape = rest_api) -> Answer:
        answered = answer(self.function(name).invoke(shape(request)))
        if answered.headers.get("content-type", "").startswith("application/json"):
            LEDGER.add_all(secrets_in(answered.json()))
        return answered

    def __enter__(self) -> Deployed:
        return self

    def __exit__(self, *_: object) -> None:
        for function in self._running.values():
            function.close()


def m2m_token(demo: DemoEnv, **more: str) -> Request:
    client = {"client_id": demo.CLIENT_ID, "client_secret": demo.CLIENT_SECRET}
    return Request.form("/api/v1/oauth/token", grant_type="client_credentials", **client, **more)


def obo_token(demo: DemoEnv) -> Request:
    actor_type = "urn:runlayer:token-type:user-id"
    return m2m_token(demo, actor_token=demo.USER_ID, actor_token_type=actor_type)


def call_tool(server_id: str, tool: str, credential: dict[str, str], **arguments: object) -> Request:
    body = {"tool_name": tool, "arguments": arguments}
    return Request.json(f"/api/v1/proxy/{server_id}/tools", body, credential)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def api_key(key: str) -> dict[str, str]:
    return {"x-runlayer-api-key": key}
