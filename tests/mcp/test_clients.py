"""Unmodified MCP clients of both eras, at servers of both eras, through the MCP endpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from support.clients import CLIENTS, HANDSHAKE_ERA, Client
from support.organization import HANDSHAKE, MODERN, Organization
from support.tour import CANNOT, TOURS, Stop, expected

SERVER_NAMES = {MODERN: "modern", HANDSHAKE: "mcp-servers/everything"}
Tour = Callable[[Client, str], dict[str, Any]]


@pytest.fixture(scope="module")
def tour(organization: Organization) -> Tour:
    """Each client goes once through each server's tour. The tests check its reports."""

    @cache
    def report(client: Client, server: str) -> dict[str, Any]:
        steps = [stop.step for stop in TOURS[server]]
        return client.run(organization.url(server), steps, token=organization.agent_token)

    return report


@pytest.mark.parametrize("server", TOURS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_connects_in_its_own_era_whatever_the_servers(
    client: Client, server: str, tour: Tour
) -> None:
    version = "2025-11-25" if client.era == HANDSHAKE_ERA else "2026-07-28"
    assert tour(client, server)["connected"] == {"version": version, "server": SERVER_NAMES[server]}


@pytest.mark.parametrize(
    ("server", "stop"),
    [
        pytest.param(server, stop, id=f"{server}: {stop.name}")
        for server, stops in TOURS.items()
        for stop in stops
    ],
)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_gets_what_the_server_gives(client: Client, server: str, stop: Stop, tour: Tour) -> None:
    """Or the result that `CANNOT` gives instead, with the reason."""
    report = tour(client, server)
    assert "refused" not in report, report["refused"]
    expected(client.era, server, stop)(report["steps"][TOURS[server].index(stop)])


def test_each_exception_is_about_a_step_that_there_is() -> None:
    known = {(server, stop.name) for server, stops in TOURS.items() for stop in stops}
    assert {(cannot.server, cannot.stop) for cannot in CANNOT} <= known
