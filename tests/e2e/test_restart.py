"""A restart keeps everything, renews the demo JWTs, and makes no second demo organization."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from harness.api import (
    agent_token,
    all_pages,
    caller,
    create_grant,
    delegations_path,
    done,
    grants_path,
    list_channels,
    list_repos,
    obo_token,
    text_of,
    toggle_grant,
)
from harness.demo_env import DemoEnv
from harness.server import Server

DAY_SECONDS = 24 * 3600
JWT_NAMES = {"USER_TOKEN", "ADMIN_TOKEN", "USER_ACCESS_TOKEN"}


def everything(server: Server, demo: DemoEnv) -> dict[str, Any]:
    """All state that the management API shows to an admin, and each user's own view."""
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    lists = ("users", "agent-accounts", "servers", "policies", "api-keys", "delegations")
    seen: dict[str, Any] = {name: all_pages(alice, f"/api/v1/{name}") for name in lists}
    seen["agent delegations"] = all_pages(alice, delegations_path(demo))
    seen["secrets"] = all_pages(alice, f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/secrets")
    for name in ("ALICE", "BOB", "CAROL", "ERIN", "FRANK"):
        own = caller(server, api_key=demo[f"{name}_API_KEY"])
        seen[f"grants of {name}"] = all_pages(own, grants_path(demo))
        seen[f"me {name}"] = done(own.get("/api/v1/me")).json()
    return without_usage(seen)


def without_usage(document: Any) -> Any:
    """The same without the times of last use, which reading changes."""
    if isinstance(document, dict):
        return {name: without_usage(value) for name, value in document.items() if name != "last_used_at"}
    if isinstance(document, list):
        return [without_usage(value) for value in document]
    return document


@dataclass(frozen=True)
class Restarted:
    """A server's state before and after a restart on the same data directory and port."""

    before: dict[str, Any]
    after: dict[str, Any]
    demo_before: DemoEnv
    demo_after: DemoEnv
    old_token_call: httpx.Response
    shared_grant_call: httpx.Response
    new_token_call: httpx.Response
    request_id_before: str
    audit_after: list[dict[str, Any]]


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Restarted:
    data_dir = tmp_path_factory.mktemp("restart") / "data"
    with Server.start(data_dir) as server:
        port, demo_before = server.port, server.demo
        alice = caller(server, api_key=demo_before.ALICE_API_KEY)
        create_grant(alice, demo_before)
        toggle_grant(alice, demo_before)
        token, bobs = agent_token(server), obo_token(server, demo_before.BOB_ID)
        request_id = done(list_repos(caller(server, token=token), demo_before)).headers["x-request-id"]
        before = everything(server, demo_before)
    with Server.start(data_dir, port=port) as server:
        demo_after = server.demo
        alice = caller(server, api_key=demo_after.ALICE_API_KEY)
        return Restarted(
            before=before,
            after=everything(server, demo_after),
            demo_before=demo_before,
            demo_after=demo_after,
            old_token_call=list_repos(caller(server, token=token), demo_after),
            shared_grant_call=list_channels(caller(server, token=bobs), demo_after),
            new_token_call=list_repos(caller(server, token=demo_after.USER_TOKEN), demo_after),
            request_id_before=request_id,
            audit_after=all_pages(alice, "/api/v1/audit-events"),
        )


def test_everything_is_as_it_was(restarted: Restarted) -> None:
    assert restarted.after == restarted.before


def test_there_is_still_one_demo_organization(restarted: Restarted) -> None:
    assert len(restarted.after["users"]) == 5
    assert len(restarted.after["agent-accounts"]) == 1
    assert len(restarted.after["servers"]) == 2


def test_the_demo_jwts_are_renewed_for_a_day(restarted: Restarted) -> None:
    for name in JWT_NAMES:
        assert restarted.demo_after[name] != restarted.demo_before[name], name
        claims = jwt.decode(restarted.demo_after[name], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == DAY_SECONDS
    assert restarted.new_token_call.status_code == 200


def test_all_other_variables_of_demo_env_are_unchanged(restarted: Restarted) -> None:
    changed = {
        name for name, value in restarted.demo_after.items() if restarted.demo_before.get(name) != value
    }
    assert changed == JWT_NAMES
    assert set(restarted.demo_before) == set(restarted.demo_after)


def test_a_token_issued_before_still_works(restarted: Restarted) -> None:
    assert restarted.old_token_call.status_code == 200


def test_the_shared_grant_and_its_oauth_session_still_serve_another_user(restarted: Restarted) -> None:
    assert "alice" in text_of(restarted.shared_grant_call).lower()


def test_the_audit_trail_goes_on_from_where_it_was(restarted: Restarted) -> None:
    assert restarted.request_id_before in [event["request_id"] for event in restarted.audit_after]


def test_a_deleted_demo_env_is_not_an_accident_that_multiplies_the_demo(tmp_path: Path) -> None:
    """API keys are shown once, so a lost file cannot be restored from the store. There must still be only one
    organization, and if the file is written again, it must work."""
    data_dir = tmp_path / "data"
    with Server.start(data_dir) as server:
        token = server.demo.USER_TOKEN
        port = server.port
        server.demo_env_file.unlink()
    with Server.start(data_dir, port=port) as server:
        users = all_pages(caller(server, token=token), "/api/v1/users")
        assert len(users) == 5
        if server.demo_env_file.exists():
            demo = server.demo
            assert list_repos(caller(server, api_key=demo.ALICE_API_KEY), demo).status_code == 200
