"""Real MCP servers behind the built binary. The shared harness lives in `tests/e2e/harness`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.server import Server
from support.organization import (
    CONFORMANCE,
    CONFORMANCE_BOTH,
    CONFORMANCE_MODERN,
    HANDSHAKE,
    HANDSHAKE_TOOLS,
    MODERN,
    MODERN_TOOLS,
    Organization,
)
from support.upstreams import Upstream, conformance_server, handshake_server, modern_server


@pytest.fixture(scope="session")
def modern() -> Iterator[Upstream]:
    with modern_server() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def handshake() -> Iterator[Upstream]:
    with handshake_server() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def conformance() -> Iterator[Upstream]:
    with conformance_server() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def upstreams(modern: Upstream, handshake: Upstream, conformance: Upstream) -> dict[str, str]:
    """URLs by the ids under which the servers are registered."""
    return {
        MODERN: modern.url,
        MODERN_TOOLS: modern.url,
        HANDSHAKE: handshake.url,
        HANDSHAKE_TOOLS: handshake.url,
        CONFORMANCE: f"{conformance.url}/handshake",
        CONFORMANCE_MODERN: f"{conformance.url}/modern",
        CONFORMANCE_BOTH: f"{conformance.url}/both",
    }


@pytest.fixture(scope="session")
def organization(
    upstreams: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Organization]:
    """One server for all tests that do not end it."""
    with Server.start(tmp_path_factory.mktemp("mcp") / "data") as server:
        yield Organization.found(server, upstreams)
