"""Servers for the end-to-end tests. Each test (or module) has its own, with its own data directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness.demo_env import DemoEnv
from harness.protected import Protected
from harness.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A new server with the demo organization."""
    with Server.start(tmp_path / "data") as server:
        yield server


@pytest.fixture
def demo(server: Server) -> DemoEnv:
    return server.demo


@pytest.fixture
def protected() -> Iterator[Protected]:
    """A new OAuth-protected MCP server, with its authorization server."""
    with Protected.start() as protected:
        yield protected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The check of all output comes after all tests that print."""
    items.sort(key=lambda item: item.path.name == "test_no_secret_is_printed.py")
