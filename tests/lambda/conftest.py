"""The functions as deployed, each behind the test's own Runtime API. A local server shares their table and makes the
demo organization. The shared harness is in `tests/e2e/harness`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

for shared in ("e2e", "mcp"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / shared))

from harness.deployment import table
from harness.function import environment
from harness.private_address import private_address
from harness.server import Server
from support.organization import MODERN, MODERN_TOOLS, Organization
from support.upstreams import Upstream, modern_server
from deployed import Deployed


@pytest.fixture(scope="session")
def modern() -> Iterator[Upstream]:
    """A real MCP server, which the proxy calls."""
    with modern_server(private_address()) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def deployed(modern: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """All five functions for all tests. Each is started at its first request."""
    with ExitStack() as stack:
        table_url = stack.enter_context(table())
        data_dir = tmp_path_factory.mktemp("lambda") / "data"
        server = stack.enter_context(Server.start(data_dir, flags=["--dynamodb-url", table_url]))
        organization = Organization.found(server, {MODERN: modern.url, MODERN_TOOLS: modern.url})
        yield stack.enter_context(Deployed(organization, environment(server.url, data_dir, table_url)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The check of all output comes after all tests that print."""
    items.sort(key=lambda item: item.path.name == "test_no_secret_is_printed.py")
