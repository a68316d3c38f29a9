"""The official conformance suite: what passes directly at a server also passes through Deputize."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from conformance_exceptions import EXCEPTIONS
from support import suite
from support.organization import CONFORMANCE, CONFORMANCE_BOTH, CONFORMANCE_MODERN, Organization
from support.upstreams import Upstream

# The suite's revision, the server that it tests directly, and the one that it tests through Deputize.
RUNS = [
    pytest.param("2025-06-18", "handshake", CONFORMANCE, id="2025-06-18 at a handshake server"),
    pytest.param("2025-11-25", "handshake", CONFORMANCE, id="2025-11-25 at a handshake server"),
    pytest.param("2026-07-28", "modern", CONFORMANCE_MODERN, id="2026-07-28 at a stateless server"),
    pytest.param("2025-11-25", "handshake", CONFORMANCE_BOTH, id="2025-11-25 at a server of both eras"),
    pytest.param("2025-11-25", "handshake", CONFORMANCE_MODERN, id="2025-11-25 at a stateless server"),
    pytest.param("2026-07-28", "modern", CONFORMANCE, id="2026-07-28 at a handshake server"),
]

Straight = Callable[[str, str], suite.Checks]


@pytest.fixture(scope="module")
def straight(conformance: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    @cache
    def checks(version: str, path: str) -> suite.Checks:
        return suite.run(f"{conformance.url}/{path}", version, tmp_path_factory.mktemp("straight"))

    return checks


@pytest.fixture(scope="module")
def through_us(organization: Organization) -> Iterator[str]:
    with suite.authorized(organization.server.url, organization.agent_token) as url:
        yield url


@pytest.mark.parametrize(
    ("version", "path"), [("2025-06-18", "handshake"), ("2025-11-25", "handshake"), ("2026-07-28", "modern")]
)
def test_straight_at_the_server_all_of_the_suite_passes(version: str, path: str, straight: Straight) -> None:
    """Otherwise the comparison would mean little."""
    checks = straight(version, path)
    assert {key: status for key, status in checks.items() if status != "SUCCESS"} == {}
    assert len(checks) > 50


@pytest.mark.parametrize(("version", "path", "server"), RUNS)
def test_what_passes_straight_passes_through_us(
    version: str, path: str, server: str, straight: Straight, through_us: str, tmp_path: Path
) -> None:
    """Except for the exceptions. One that passes is an error."""
    url = f"{through_us}/api/v1/proxy/{server}/mcp"
    less = suite.worse(suite.run(url, version, tmp_path), than=straight(version, path))
    exceptions = EXCEPTIONS.get((version, server), [])
    unexplained = {
        key: status
        for key, status in less.items()
        if not any(exception.covers(*key) for exception in exceptions)
    }
    passing = [exception for exception in exceptions if not any(exception.covers(*key) for key in less)]
    assert not unexplained, "\n".join(f"{check}: {status}" for check, status in unexplained.items())
    assert not passing, "\n".join(f"passes: {exception}" for exception in passing)
