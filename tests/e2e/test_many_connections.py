"""Many connections at once, of which most say nothing or stop in the middle."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.api import caller
from harness.server import Server, run_to_exit

CONNECTIONS = 800
HEAD_WITHIN_SECONDS = 2
HALF_A_HEAD = b"POST /api/v1/oauth/token HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half: "
# It takes the machine some time to open and to close so many.
PATIENCE_SECONDS = 30


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Server]:
    flags = ["--head-within-ms", str(HEAD_WITHIN_SECONDS * 1000), "--max-connections", str(CONNECTIONS + 100)]
    with Server.start(tmp_path / "data", flags=flags) as server:
        yield server


def connected(server: Server, says: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
    connection.sendall(says)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Waits until the server closes it, without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def is_served(server: Server) -> bool:
    answer = caller(server, api_key=server.demo.API_KEY).get("/api/v1/me")
    return answer.status_code == 200


def test_half_open_requests_are_closed_after_their_time_and_others_are_served_meanwhile(impatient: Server) -> None:
    with ExitStack() as stack:
        begun = time.monotonic()
        opened = [stack.enter_context(connected(impatient, HALF_A_HEAD)) for _ in range(CONNECTIONS)]
        assert is_served(impatient)
        closed = [is_closed(connection) for connection in opened]
        taken = time.monotonic() - begun
        assert all(closed)
        assert HEAD_WITHIN_SECONDS <= taken < PATIENCE_SECONDS
        assert is_served(impatient)


def test_a_head_that_drips_is_closed_too(impatient: Server) -> None:
    with connected(impatient, HALF_A_HEAD) as connection:
        connection.settimeout(0.2)
        for _ in range(PATIENCE_SECONDS * 5):
            try:
                connection.sendall(b"a")
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                return
        raise AssertionError("the server went on reading")


def test_beyond_the_limit_those_without_a_request_make_room(tmp_path: Path) -> None:
    with Server.start(tmp_path / "data", flags=["--max-connections", "20"]) as server, ExitStack() as stack:
        silent = [stack.enter_context(connected(server, b"")) for _ in range(200)]
        assert is_served(server)
        # The first ones were closed at once, long before their time.
        assert all(is_closed(connection) for connection in silent[:150])


@pytest.mark.parametrize("flag", ["--max-connections", "--max-bytes-in-flight"])
def test_a_limit_of_nothing_is_refused(tmp_path: Path, flag: str) -> None:
    refused = run_to_exit("--port", "0", "--data-dir", tmp_path / "data", flag, "0")
    assert refused.code not in (0, 101)
    assert flag in refused.stderr and "at least 1" in refused.stderr


def test_bodies_beyond_the_bytes_in_flight_are_refused_with_a_time_to_wait(tmp_path: Path) -> None:
    with Server.start(tmp_path / "data", flags=["--max-bytes-in-flight", "1000000"]) as server:
        client = caller(server, api_key=server.demo.API_KEY)
        call = {"tool_name": "list_repos", "arguments": {"org": "x" * 2_000_000}}
        path = f"/api/v1/proxy/{server.demo.SERVER_ID}/tools"
        refused = client.post(path, json=call)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        body = refused.json()
        assert (body["reason"], body["safe_to_retry"]) == ("service_busy", True)
        small = {"tool_name": "list_repos", "arguments": {"org": "acme-corp"}}
        assert client.post(path, json=small).status_code == 200
