"""Whose credentials reach a real protected server. Alice, Bob and Carol each have an account there."""

from __future__ import annotations

import httpx
import pytest
from harness.api import agent_token, caller, done, obo_token
from harness.connecting import (
    CHAT,
    acting_as,
    answer_consent,
    begin,
    come_back,
    connect,
    connection,
    grant,
    register_chat,
    whoami,
)
from harness.demo_env import DemoEnv
from harness.protected import Protected
from harness.refusals import assert_refusal
from harness.server import Server


class Organization:
    """All three users, and Support Bot for each of them."""

    def __init__(self, server: Server) -> None:
        self.demo = server.demo
        keys = {
            "alice": self.demo.ALICE_API_KEY,
            "bob": self.demo.BOB_API_KEY,
            "carol": self.demo.CAROL_API_KEY,
        }
        ids = {"alice": self.demo.USER_ID, "bob": self.demo.BOB_ID, "carol": self.demo.CAROL_ID}
        self.users = {name: caller(server, api_key=key) for name, key in keys.items()}
        self.bot_for = {name: caller(server, token=obo_token(server, id)) for name, id in ids.items()}
        self.bot = caller(server, token=agent_token(server))

    def grant(self, name: str, *, shared: bool = False) -> dict[str, object]:
        return grant(self.users[name], self.demo.AGENT_ACCOUNT_ID, shared=shared)


@pytest.fixture
def everybody(server: Server, protected: Protected) -> Organization:
    register_chat(server, protected)
    return Organization(server)


def assert_no_credentials(response: httpx.Response) -> None:
    assert_refusal(response, 401, "no_credentials", "No credentials available for this server", reason="no_credentials")


def test_own_grant_first_then_the_shared_one_and_nothing_without_either(
    everybody: Organization, demo: DemoEnv
) -> None:
    alice, carol = everybody.users["alice"], everybody.users["carol"]
    connect(alice, "alice")
    everybody.grant("alice")
    assert acting_as(whoami(everybody.bot_for["alice"])) == "alice"
    for other in (everybody.bot_for["bob"], everybody.bot_for["carol"], everybody.bot):
        assert_no_credentials(whoami(other))

    path = f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/session-grants/toggle"
    assert done(alice.post(path, json={"server_id": CHAT})).json()["shared"] is True
    for anybody in (*everybody.bot_for.values(), everybody.bot):
        assert acting_as(whoami(anybody)) == "alice"

    connect(carol, "carol")
    assert acting_as(whoami(everybody.bot_for["carol"])) == "alice", "until Carol grants her own"
    everybody.grant("carol")
    assert acting_as(whoami(everybody.bot_for["carol"])) == "carol"
    assert acting_as(whoami(everybody.bot_for["bob"])) == "alice", "Carol's grant is hers alone"
    assert acting_as(whoami(everybody.bot)) == "alice"


def test_people_use_their_own_session_without_any_grant(everybody: Organization) -> None:
    for name in ("alice", "carol"):
        connect(everybody.users[name], name)
        assert acting_as(whoami(everybody.users[name])) == name
    everybody.grant("alice", shared=True)
    refused = whoami(everybody.users["bob"])
    assert_refusal(refused, 401, "session_not_found", "OAuth session not found", reason="session_not_found")


def test_who_is_not_connected_can_grant_nothing(everybody: Organization, demo: DemoEnv) -> None:
    path = f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/session-grants"
    refused = everybody.users["bob"].post(path, json={"server_id": CHAT, "shared": False})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


def test_a_grant_whose_owner_has_disconnected_finds_no_session_until_they_connect_again(
    everybody: Organization,
) -> None:
    alice = everybody.users["alice"]
    connect(alice, "alice")
    everybody.grant("alice", shared=True)
    assert acting_as(whoami(everybody.bot_for["bob"])) == "alice"

    disconnected = alice.delete(f"/api/v1/servers/{CHAT}/connection")
    assert (disconnected.status_code, disconnected.content) == (204, b"")
    assert alice.get(f"/api/v1/servers/{CHAT}/connection").status_code == httpx.codes.NOT_FOUND
    for anybody in (everybody.bot_for["alice"], everybody.bot_for["bob"], everybody.bot, alice):
        assert_refusal(whoami(anybody), 401, "session_not_found", "OAuth session not found", reason="session_not_found")

    connect(alice, "alice")
    assert acting_as(whoami(everybody.bot_for["bob"])) == "alice"


def test_another_users_credential_cannot_finish_a_connection(server: Server, everybody: Organization) -> None:
    """Bob gets Alice's URL and signs in. His account must not become hers."""
    alice, bob = everybody.users["alice"], everybody.users["bob"]
    callback = answer_consent(begin(alice), "bob")
    refused = come_back(bob, callback)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "text/html; charset=utf-8")
    for user in (alice, bob):
        assert user.get(f"/api/v1/servers/{CHAT}/connection").status_code == httpx.codes.NOT_FOUND

    # It is still Alice's, and can be used once.
    assert "Connected" in done(come_back(alice, callback)).text
    assert connection(alice)["status"] == "connected"
    replayed = come_back(alice, callback)
    assert replayed.status_code == httpx.codes.BAD_REQUEST
    assert come_back(caller(server), callback).status_code == httpx.codes.BAD_REQUEST
