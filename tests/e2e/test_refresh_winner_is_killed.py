"""The process that refreshes a session is killed in the middle of it. Its lease ends by itself, and the next caller
goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import httpx
import pytest
from harness.api import caller
from harness.connecting import (
    acting_as,
    connect,
    connect_until_expired,
    connection,
    register_chat,
    whoami,
)
from harness.deployment import deployment
from harness.protected import Protected
from harness.server import Server

# A lease lasts 25 s. A caller that waits for its end goes on soon after.
LEASE_AND_A_REFRESH_SECONDS = 30


@pytest.fixture
def processes(tmp_path: Path, protected: Protected) -> Iterator[list[Server]]:
    """Two processes, the second of which will die. Alice's token has expired."""
    with deployment(tmp_path, 2) as processes:
        register_chat(processes[0], protected)
        connect_until_expired(alice_at(processes[0], processes[0]), "alice", protected)
        yield processes


def alice_at(process: Server, first: Server) -> httpx.Client:
    return caller(process, api_key=first.demo.ALICE_API_KEY)


def kill_in_the_middle_of_a_refresh(processes: list[Server], protected: Protected, fault: str) -> None:
    """Until then, the authorization server holds the refresh as `fault` says."""
    survivor, winner = processes
    protected.change(token_endpoint=fault)
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(whoami, alice_at(winner, survivor))
        protected.wait_until_held(1)
        winner.kill()
        assert isinstance(call.exception(), httpx.TransportError)
    protected.wait_until_held(0)
    protected.change(token_endpoint="works")


def test_killed_before_the_provider_has_seen_the_refresh_the_next_caller_takes_over_without_a_login(
    processes: list[Server], protected: Protected
) -> None:
    kill_in_the_middle_of_a_refresh(processes, protected, "hold_before")
    assert protected.unseen("hold_before") == 1
    assert protected.refreshes() == {}

    alice = alice_at(processes[0], processes[0])
    began = monotonic()
    assert acting_as(whoami(alice)) == "alice"
    assert monotonic() - began < LEASE_AND_A_REFRESH_SECONDS
    assert protected.refreshes() == {"ok": 1}
    assert protected.families("alice") == [(True, 1)]
    assert connection(alice)["status"] == "connected"


def test_killed_after_the_provider_has_used_up_the_token_the_error_says_that_a_refresh_was_interrupted(
    processes: list[Server], protected: Protected
) -> None:
    kill_in_the_middle_of_a_refresh(processes, protected, "hold_after")
    assert protected.refreshes() == {"ok": 1}

    alice = alice_at(processes[0], processes[0])
    began = monotonic()
    refused = whoami(alice)
    assert monotonic() - began < LEASE_AND_A_REFRESH_SECONDS
    assert (refused.status_code, refused.json()["error"]) == (401, "session_expired")
    detail = refused.json()["detail"]
    assert detail.startswith("OAuth session expired")
    assert "refresh was interrupted" in detail
    assert protected.refreshes() == {"ok": 1, "invalid_grant": 1}
    assert protected.families("alice") == [(False, 1)], "the provider has ended the family"
    assert connection(alice)["status"] == "expired"

    # That is known now, and the provider is not asked again.
    assert whoami(alice).json() == refused.json()
    assert protected.refreshes() == {"ok": 1, "invalid_grant": 1}

    connect(alice, "alice")
    assert acting_as(whoami(alice)) == "alice"
