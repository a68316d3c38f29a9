"""The functions as they are deployed, each behind a Runtime API of the test's own, beside a local server with which
they share a table: it makes the demo organization. The shared harness lives in `tests/e2e/harness`."""

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
    """All five functions for all tests; each is started when it is first asked."""
    with ExitStack() as stack:
        table_url = stack.enter_context(table())
        data_dir = tmp_path_factory.mktemp("lambda") / "data"
        server = stack.enter_context(Server.start(data_dir, flags=["--dynamodb-url", table_url]))
        organization = Organization.found(server, {MODERN: modern.url, MODERN_TOOLS: modern.url})
        yield stack.enter_context(Deployed(organization, environment(server.url, data_dir, table_url)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The check of everything that was printed comes after everything that prints."""
    items.sort(key=lambda item: item.path.name == "test_no_secret_is_printed.py")
