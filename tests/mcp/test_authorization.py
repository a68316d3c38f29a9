"""Clients that know only the endpoint's URL and their own id and secret."""

from __future__ import annotations

import pytest

from support.clients import CLIENTS, Client
from support.organization import MODERN, Organization


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_finds_out_by_itself_where_to_get_its_token(
    client: Client, organization: Organization
) -> None:
    demo = organization.server.demo
    report = client.run(
        organization.url(MODERN),
        [{"do": "call_tool", "name": "echo", "arguments": {"text": "hello"}}],
        client_id=demo.CLIENT_ID,
        client_secret=demo.CLIENT_SECRET,
    )
    assert "refused" not in report, report["refused"]
    assert report["steps"][0]["result"]["content"][0]["text"] == "hello"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_with_a_wrong_secret_is_told_that_it_is_refused(
    client: Client, organization: Organization
) -> None:
    demo = organization.server.demo
    report = client.run(
        organization.url(MODERN), [], client_id=demo.CLIENT_ID, client_secret=demo.CLIENT_SECRET[:-1]
    )
    assert "connected" not in report
    refused = str(report["refused"])
    assert "invalid_client" in refused or "Client authentication failed" in refused
