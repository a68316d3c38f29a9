"""Servers for the recipes: the local one, or with `DEPUTIZE_COOKBOOK=deployed` the deployment of tests/deploy.

The local one keeps its table in itself, or at the DynamoDB that `DEPUTIZE_TEST_DYNAMODB` names (`tests/run dynamodb`).

The shared harness lives in `tests/e2e/harness`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "e2e"))

from harness.demo_env import DemoEnv
from harness.server import Server


def start(data_dir: Path) -> Server:
    dynamodb = os.environ.get("DEPUTIZE_TEST_DYNAMODB")
    if not dynamodb:
        return Server.start(data_dir)
    # The table's name is always the same. In a region of its own it is a table of its own.
    chosen = {"AWS_REGION": f"test-{uuid4().hex}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return Server.start(data_dir, flags=["--dynamodb-url", dynamodb], environment=chosen)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A new server with the demo organization, for a test that changes something."""
    with start(tmp_path / "data") as server:
        yield server


@pytest.fixture
def demo(server: Server) -> DemoEnv:
    return server.demo


@pytest.fixture(scope="session")
def unchanged_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that only get tokens and read."""
    with start(tmp_path_factory.mktemp("unchanged") / "data") as server:
        yield server


if os.environ.get("DEPUTIZE_COOKBOOK") == "deployed":
    for folder in ("infra", "deploy"):
        sys.path.insert(0, str(TESTS / folder))
    from emulated.fixtures import server, unchanged_server  # noqa: F811
