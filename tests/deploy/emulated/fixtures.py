"""The one deployment of a test session, and the fixtures of its tests."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from emulated.deployment import Deployment


@cache
def shared() -> Deployment:
    """Made when it is first needed, since it takes half a minute."""
    deployment = Deployment.make(Path(tempfile.mkdtemp()))
    atexit.register(deployment.stop)
    return deployment


@pytest.fixture
def server() -> Iterator[Deployment]:
    """The deployment, for a test that changes something. It is restored afterwards."""
    deployment = shared()
    yield deployment
    # Checked first: no function was refused anything that it needs.
    refused = deployment.denied()
    deployment.as_new()
    assert not refused, "\n".join(["the functions' policies do not suffice:", *refused])


@pytest.fixture(scope="session")
def unchanged_server() -> Deployment:
    """The same, for tests that only get tokens and read."""
    return shared()
