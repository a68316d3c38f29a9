"""Everything together: the emulator, the stack in it, the demo organization, and the servers that it calls."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulated.emulator import Emulator, free_port
from emulated.identity_provider import IdentityProvider
from emulated.organization import Organization, write_demo_env
from emulated.private_address import Forwarder
from emulated.stack import DeployedStack
from harness.demo_env import DemoEnv
from harness.secrets_ledger import LEDGER
from harness.server import Server
from templates import FUNCTIONS

# Short, so that a test can see the end of a stream.
SESSION_STREAMS_SECONDS = 4
_BATCH = 25  # items of a BatchWriteItem


@dataclass
class Deployment:
    """Has the interface of a server: `url`, `demo_env_file` and `demo`."""

    emulator: Emulator
    stack: DeployedStack
    upstream: Server
    forwarder: Forwarder
    provider: IdentityProvider
    demo_env_file: Path
    bootstrap_key: str = field(repr=False)
    _as_made: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, repr=False)
    _resets: int = 0

    @classmethod
    def make(cls, folder: Path) -> Deployment:
        emulator = Emulator.start(folder / "aws")
        forwarder = Forwarder()
        issuer = f"{forwarder.url}/demo/issuer"
        trusted = {"issuer": issuer, "audiences": ["deputize"], "link_by_email": True, "provision": True}
        # The operator chooses the issuers, so their keys may come from this machine.
        port = free_port()
        trusted["jwks_uri"] = f"http://127.0.0.1:{port}/demo/issuer/jwks.json"
        provider = IdentityProvider(forwarder.address, folder / "provider")
        parameters = {
            "PrivateUpstreams": forwarder.address,
            "TrustedIssuers": json.dumps([trusted, provider.trusted()]),
            "SessionStreams": str(SESSION_STREAMS_SECONDS),
        }
        # A layer's file, which the emulator does not put into /opt.
        always = {"DEPUTIZE_CA_BUNDLE": str(provider.ca_file)}
        stack = DeployedStack.create(emulator, parameters, always, folder)
        upstream = Server.start(
            folder / "upstream",
            port=port,
            flags=["--demo-url", forwarder.url, "--url", stack.url],
        )
        forwarder.forward_to(upstream.port)
        bootstrapped = stack.bootstrap()
        assert bootstrapped.returncode == 0, bootstrapped.stderr
        key = bootstrapped.stdout.strip()
        stored = stack.store_sign_in_secrets(provider.secrets())
        assert stored.returncode == 0, stored.stderr
        variables = Organization(stack.url, upstream.demo).make(key)
        demo_env_file = folder / "demo.env"
        write_demo_env(demo_env_file, variables)
        made = cls(emulator, stack, upstream, forwarder, provider, demo_env_file, key)
        made._as_made = made._items()
        LEDGER.add_all(made.demo.secrets())
        LEDGER.add("the secret at the provider", provider.secret)
        LEDGER.watch(stack.logs)
        return made

    @property
    def url(self) -> str:
        return self.stack.url

    @property
    def demo(self) -> DemoEnv:
        return DemoEnv.source(self.demo_env_file)

    def as_new(self) -> Deployment:
        """Restores the table to its first state, and starts new processes with empty memories."""
        now = self._items()
        writes = [{"PutRequest": {"Item": item}} for key, item in self._as_made.items() if now.get(key) != item]
        gone = now.keys() - self._as_made.keys()
        writes += [{"DeleteRequest": {"Key": {"pk": {"S": pk}, "sk": {"S": sk}}}} for pk, sk in gone]
        table = self.emulator.client("dynamodb")
        for at in range(0, len(writes), _BATCH):
            batch = {self.stack.outputs["TableName"]: writes[at : at + _BATCH]}
            assert not table.batch_write_item(RequestItems=batch)["UnprocessedItems"]
        self._resets += 1
        self.stack.configure({"RESET": str(self._resets)})
        return self

    def _items(self) -> dict[tuple[str, str], dict[str, Any]]:
        pages = self.emulator.client("dynamodb").get_paginator("scan").paginate(
            TableName=self.stack.outputs["TableName"], ConsistentRead=True
        )
        return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}

    def denied(self) -> list[str]:
        """What IAM has refused so far, and to which function."""
        return [f"{name}: {request}" for name in FUNCTIONS for request in self.stack.guards[name].denied]

    def stop(self) -> None:
        self.stack.stop()
        self.forwarder.stop()
        self.provider.stop()
        self.upstream.stop()
        self.emulator.stop()

