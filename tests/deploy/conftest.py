"""The deployment, and what the suites share: the harness of tests/e2e, the templates and policies of tests/infra."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for folder in ("deploy", "infra", "e2e"):
    if str(TESTS / folder) not in sys.path:
        sys.path.insert(0, str(TESTS / folder))

import pytest
from emulated.deployment import Deployment
from emulated.fixtures import server, unchanged_server  # noqa: F401
from harness.demo_env import DemoEnv


@pytest.fixture
def demo(server: Deployment) -> DemoEnv:  # noqa: F811
    return server.demo
