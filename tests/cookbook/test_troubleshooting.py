"""Each row of the cookbook's troubleshooting table: its status and its text, caused as the row says, and only through
the public API of the running server. (One row is not here, see `test_text.py`.)

The status and the text are read from the table, so a test cannot expect anything else than the cookbook says. Each
test also checks the whole body.
"""

from __future__ import annotations

import base64
from uuid import uuid4

import httpx
import pytest
from harness.api import (
    ACCESS_TOKEN_TYPE,
    TOKEN_EXCHANGE,
    USER_EMAIL_TYPE,
    USER_ID_TYPE,
    agent_token,
    call_tool,
    caller,
    create_grant,
    delegations_path,
    done,
    list_channels,
    list_repos,
    obo_token,
    request_token,
    text_of,
)
from harness.demo_env import DemoEnv
from harness.refusals import assert_oauth_refusal, assert_refusal
from harness.server import Server
from recipes import Trouble, troubleshooting_table


def promised(error: str) -> Trouble:
    """The row of the table with this error."""
    return next(row for row in troubleshooting_table() if row.error == error)


def assert_says(response: httpx.Response, row: Trouble) -> None:
    """What a client of the cookbook checks: the status, and the row's text in `detail`."""
    assert (response.status_code, row.text in response.json()["detail"]) == (row.status, True), response.text


# 401 invalid_client: "Wrong client ID or secret … check if they were rotated"


def assert_invalid_client(response: httpx.Response) -> None:
    assert_says(response, promised("401 invalid_client"))
    assert_oauth_refusal(response, 401, "invalid_client", "Client authentication failed", reason="client_refused")


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_secret": "wrong"},
        {"client_secret": ""},
        {"client_id": str(uuid4())},
        {"client_id": "not-even-a-uuid"},
    ],
    ids=["wrong secret", "empty secret", "unknown client", "malformed client"],
)
def test_wrong_client_credentials_are_invalid_client(unchanged_server: Server, wrong: dict[str, str]) -> None:
    assert_invalid_client(request_token(unchanged_server, **wrong))


def test_a_wrong_secret_in_a_basic_header_is_invalid_client_and_challenged_by_basic(
    unchanged_server: Server,
) -> None:
    credentials = base64.b64encode(f"{unchanged_server.demo.CLIENT_ID}:wrong".encode()).decode()
    response = caller(unchanged_server).post(
        "/api/v1/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"authorization": f"Basic {credentials}"},
    )
    assert_invalid_client(response)
    assert response.headers["www-authenticate"].startswith("Basic")


def test_a_rotated_out_secret_is_invalid_client(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    secrets = f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/secrets"
    old = done(alice.get(secrets)).json()
    new = done(alice.post(secrets)).json()["client_secret"]
    for secret in old:
        done(alice.delete(f"{secrets}/{secret['id']}"))
    assert_invalid_client(request_token(server))
    assert agent_token(server, client_secret=new)


def test_a_disabled_agent_account_is_invalid_client(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    done(alice.patch(f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}", json={"active": False}))
    assert_invalid_client(request_token(server))


# 403 invalid_grant: No valid delegation


def assert_no_valid_delegation(response: httpx.Response) -> None:
    assert_says(response, promised("403 invalid_grant: No valid delegation"))
    assert_oauth_refusal(response, 403, "invalid_grant", "No valid delegation", reason="delegation_missing")


def test_a_user_who_never_delegated_is_no_valid_delegation(unchanged_server: Server) -> None:
    # The placeholder of the cookbook's own recipe is such a user.
    for user_id in ("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", str(uuid4())):
        assert_no_valid_delegation(
            request_token(unchanged_server, actor_token=user_id, actor_token_type=USER_ID_TYPE)
        )


def test_a_user_who_revoked_their_delegation_is_no_valid_delegation_by_every_way_to_ask(
    server: Server, demo: DemoEnv
) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    mine = [d for d in done(alice.get("/api/v1/delegations")).json() if d["is_active"]]
    before = agent_token(server)
    for delegation in mine:
        done(alice.delete(f"/api/v1/delegations/{delegation['id']}"))

    email = done(alice.get("/api/v1/me")).json()["email"]
    for actor_token, actor_token_type in (
        (demo.USER_ID, USER_ID_TYPE),
        (email, USER_EMAIL_TYPE),
        (demo.USER_ACCESS_TOKEN, ACCESS_TOKEN_TYPE),
    ):
        assert_no_valid_delegation(
            request_token(server, actor_token=actor_token, actor_token_type=actor_token_type)
        )
    assert_no_valid_delegation(
        request_token(
            server,
            grant_type=TOKEN_EXCHANGE,
            subject_token=before,
            subject_token_type=ACCESS_TOKEN_TYPE,
            actor_token=demo.USER_ACCESS_TOKEN,
            actor_token_type=ACCESS_TOKEN_TYPE,
        )
    )
    done(alice.post(delegations_path(demo), json={}))
    assert obo_token(server, demo.USER_ID)


# 400 invalid_grant: actor_token must be a valid UUID


@pytest.mark.parametrize("malformed", ["not-a-uuid", "12345", "alice@example.com", "aaaaaaaa-bbbb-cccc-dddd"])
def test_a_malformed_user_id_is_named_as_such(unchanged_server: Server, malformed: str) -> None:
    response = request_token(unchanged_server, actor_token=malformed, actor_token_type=USER_ID_TYPE)
    assert_says(response, promised("400 invalid_grant: actor_token must be a valid UUID"))
    assert_oauth_refusal(response, 400, "invalid_grant", "actor_token must be a valid UUID", reason="actor_not_uuid")


# 403 Delegator user is deactivated


def test_a_deactivated_delegator_is_named_as_such_until_reactivated(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    bob = f"/api/v1/users/{demo.BOB_ID}"
    done(alice.patch(bob, json={"active": False}))

    response = request_token(server, actor_token=demo.BOB_ID, actor_token_type=USER_ID_TYPE)
    assert_says(response, promised("403 Delegator user is deactivated"))
    assert_oauth_refusal(response, 403, "invalid_grant", "Delegator user is deactivated", reason="user_inactive")

    # "Contact admin to reactivate the user"
    done(alice.patch(bob, json={"active": True}))
    # Nothing comes back by itself: that is the table's other row, "User must delegate to the agent".
    response = request_token(server, actor_token=demo.BOB_ID, actor_token_type=USER_ID_TYPE)
    assert_says(response, promised("403 invalid_grant: No valid delegation"))


# 401 No credentials available for this server


def assert_no_credentials(response: httpx.Response) -> None:
    assert_says(response, promised("401 No credentials available for this server"))
    assert_refusal(response, 401, "no_credentials", "No credentials available for this server", reason="no_credentials")


def test_no_grant_is_no_credentials_for_the_bot_itself_and_on_behalf_of_anybody(
    unchanged_server: Server,
) -> None:
    demo = unchanged_server.demo
    tokens = [agent_token(unchanged_server)]
    tokens += [obo_token(unchanged_server, user) for user in (demo.USER_ID, demo.BOB_ID, demo.CAROL_ID)]
    for token in tokens:
        assert_no_credentials(list_channels(caller(unchanged_server, token=token), demo))


def test_anothers_personal_grant_is_no_credentials_until_it_is_shared(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    create_grant(alice, demo)
    as_bob = caller(server, token=obo_token(server, demo.BOB_ID))
    assert_no_credentials(list_channels(as_bob, demo))
    create_grant(alice, demo, shared=True)
    assert "alice" in text_of(list_channels(as_bob, demo)).lower()


# 401 OAuth session not found


def test_a_grant_whose_grantor_disconnected_has_no_session(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    create_grant(alice, demo, shared=True)
    done(alice.delete(f"/api/v1/servers/{demo.SLACK_SERVER_ID}/connection"))

    for user_id in (demo.USER_ID, demo.BOB_ID):
        response = list_channels(caller(server, token=obo_token(server, user_id)), demo)
        assert_says(response, promised("401 OAuth session not found"))
        assert_refusal(response, 401, "session_not_found", "OAuth session not found", reason="session_not_found")


# 403 Policy denied


def assert_policy_denied(response: httpx.Response, denied_for: str, policies: list[str]) -> None:
    assert_says(response, promised("403 Policy denied"))
    body = response.json()
    assert body.pop("explanation")
    assert body.pop("reason") == f"policy_denied_{denied_for}"
    assert body == {
        "error": "access_denied",
        "error_description": "Policy denied",
        "detail": "Policy denied",
        "denied_for": denied_for,
        "policies": policies,
    }


def test_the_bot_may_delete_repos_but_not_on_behalf_of_bob(unchanged_server: Server) -> None:
    """The intersection: the agent's policy permits the call, and the users' policy forbids it."""
    demo = unchanged_server.demo
    itself = caller(unchanged_server, token=agent_token(unchanged_server))
    repo = {"org": "acme-corp", "repo": "website"}
    assert call_tool(itself, demo.SERVER_ID, "delete_repo", **repo).status_code == 200

    as_bob = caller(unchanged_server, token=obo_token(unchanged_server, demo.BOB_ID))
    response = call_tool(as_bob, demo.SERVER_ID, "delete_repo", **repo)
    alice = caller(unchanged_server, api_key=demo.ALICE_API_KEY)
    policies = done(alice.get("/api/v1/policies")).json()
    forbidding = [
        policy["id"] for policy in policies if policy["text"].startswith("forbid(principal is User")
    ]
    assert_policy_denied(response, denied_for="user", policies=forbidding)


def test_a_call_that_no_policy_permits_is_denied_by_none(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    for policy in done(alice.get("/api/v1/policies")).json():
        done(alice.delete(f"/api/v1/policies/{policy['id']}"))
    response = list_repos(caller(server, token=obo_token(server, demo.BOB_ID)), demo)
    assert_policy_denied(response, denied_for="agent", policies=[])


def test_a_policy_that_forbids_the_call_is_named(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    forbid = f'forbid(principal is Agent, action, resource == Tool::"{demo.SERVER_ID}/list_repos");'
    policy = done(alice.post("/api/v1/policies", json={"name": "no listing", "text": forbid})).json()
    response = list_repos(caller(server, token=obo_token(server, demo.BOB_ID)), demo)
    assert_policy_denied(response, denied_for="agent", policies=[policy["id"]])
