"""What is revoked or disabled is refused on the very next call, with a token that was good before.

Each test makes the same call twice, with only the revocation in between.
"""

from __future__ import annotations

import pytest
from harness.api import (
    agent_token,
    all_pages,
    caller,
    create_grant,
    delegations_path,
    done,
    list_channels,
    list_repos,
    obo_token,
)
from harness.demo_env import DemoEnv
from harness.server import Server


def introspected_active(server: Server, demo: DemoEnv, token: str) -> bool:
    answer = caller(server).post(
        "/api/v1/oauth/introspect",
        data={"token": token, "client_id": demo.CLIENT_ID, "client_secret": demo.CLIENT_SECRET},
    )
    return done(answer).json()["active"]


def test_a_revoked_delegation_stops_the_token_on_behalf_of_that_user_only(
    server: Server, demo: DemoEnv
) -> None:
    bobs, carols = obo_token(server, demo.BOB_ID), obo_token(server, demo.CAROL_ID)
    as_bob, as_carol = caller(server, token=bobs), caller(server, token=carols)
    done(list_repos(as_bob, demo))
    done(list_repos(as_carol, demo))
    assert introspected_active(server, demo, bobs)

    bob = caller(server, api_key=demo.BOB_API_KEY)
    (delegation,) = [d for d in all_pages(bob, "/api/v1/delegations") if d["is_active"]]
    done(bob.delete(f"/api/v1/delegations/{delegation['id']}"))

    assert list_repos(as_bob, demo).status_code == 401
    assert not introspected_active(server, demo, bobs)
    done(list_repos(as_carol, demo))
    done(list_repos(caller(server, token=agent_token(server)), demo))


def test_delegating_again_does_not_revive_a_token_of_the_revoked_delegation(
    server: Server, demo: DemoEnv
) -> None:
    """ "Re-delegating makes a new one": the old token belonged to the old delegation."""
    as_bob = caller(server, token=obo_token(server, demo.BOB_ID))
    bob = caller(server, api_key=demo.BOB_API_KEY)
    (delegation,) = [d for d in all_pages(bob, "/api/v1/delegations") if d["is_active"]]
    done(bob.delete(f"/api/v1/delegations/{delegation['id']}"))
    again = done(bob.post(delegations_path(demo), json={})).json()
    assert again["id"] != delegation["id"]
    done(list_repos(caller(server, token=obo_token(server, demo.BOB_ID)), demo))
    assert list_repos(as_bob, demo).status_code == 401


def test_a_revoked_grant_stops_the_calls_that_used_its_credentials(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    grant = create_grant(alice, demo, shared=True)
    as_bob = caller(server, token=obo_token(server, demo.BOB_ID))
    itself = caller(server, token=agent_token(server))
    done(list_channels(as_bob, demo))
    done(list_channels(itself, demo))

    done(alice.delete(f"/api/v1/session-grants/{grant['id']}"))

    for client in (as_bob, itself):
        refused = list_channels(client, demo)
        assert (refused.status_code, refused.json()["detail"]) == (
            401,
            "No credentials available for this server",
        )
    done(list_repos(as_bob, demo))


def test_a_grant_made_personal_stops_the_calls_of_others_but_not_its_grantors(
    server: Server, demo: DemoEnv
) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    create_grant(alice, demo, shared=True)
    as_alice = caller(server, token=obo_token(server, demo.USER_ID))
    as_bob = caller(server, token=obo_token(server, demo.BOB_ID))
    done(list_channels(as_bob, demo))

    create_grant(alice, demo, shared=False)

    assert list_channels(as_bob, demo).status_code == 401
    done(list_channels(as_alice, demo))


def test_a_revoked_secret_stops_the_tokens_it_got_and_a_second_secret_does_not(
    server: Server, demo: DemoEnv
) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    secrets = f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/secrets"
    first = done(alice.get(secrets)).json()[0]
    second = done(alice.post(secrets)).json()
    by_first = caller(server, token=agent_token(server))
    by_second = caller(server, token=agent_token(server, client_secret=second["client_secret"]))
    done(list_repos(by_first, demo))

    done(alice.delete(f"{secrets}/{first['id']}"))

    assert list_repos(by_first, demo).status_code == 401
    done(list_repos(by_second, demo))


def test_a_revoked_token_stops_and_its_sibling_does_not(server: Server, demo: DemoEnv) -> None:
    token, sibling = agent_token(server), agent_token(server)
    done(list_repos(caller(server, token=token), demo))
    credentials = {"client_id": demo.CLIENT_ID, "client_secret": demo.CLIENT_SECRET}
    done(caller(server).post("/api/v1/oauth/revoke", data={"token": token, **credentials}))
    assert list_repos(caller(server, token=token), demo).status_code == 401
    assert not introspected_active(server, demo, token)
    done(list_repos(caller(server, token=sibling), demo))


def test_a_revoked_api_key_stops_and_its_owners_other_key_does_not(server: Server, demo: DemoEnv) -> None:
    bob = caller(server, api_key=demo.BOB_API_KEY)
    created = done(bob.post("/api/v1/api-keys", json={"name": "second"})).json()
    second = caller(server, api_key=created["key"])
    done(list_repos(second, demo))
    done(second.get("/api/v1/me"))

    done(bob.delete(f"/api/v1/api-keys/{created['id']}"))

    assert list_repos(second, demo).status_code == 401
    assert second.get("/api/v1/me").status_code == 401
    done(list_repos(bob, demo))


def test_a_disabled_agent_account_stops_all_its_tokens(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    m2m, obo = agent_token(server), obo_token(server, demo.BOB_ID)
    clients = [caller(server, token=m2m), caller(server, token=obo)]
    for client in clients:
        done(list_repos(client, demo))

    done(alice.patch(f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}", json={"active": False}))

    assert [list_repos(client, demo).status_code for client in clients] == [401, 401]
    done(list_repos(alice, demo))


def test_a_deactivated_user_is_stopped_in_every_role(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    as_bob = caller(server, token=obo_token(server, demo.BOB_ID))
    bob = caller(server, api_key=demo.BOB_API_KEY)
    for client in (as_bob, bob):
        done(list_repos(client, demo))

    done(alice.patch(f"/api/v1/users/{demo.BOB_ID}", json={"active": False}))

    assert list_repos(as_bob, demo).status_code in (401, 403)
    assert list_repos(bob, demo).status_code == 401
    assert bob.get("/api/v1/delegations").status_code == 401


def test_a_deactivated_admin_loses_their_jwt_too(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    by_jwt = caller(server, token=demo.USER_TOKEN)
    done(alice.patch(f"/api/v1/users/{demo.CAROL_ID}", json={"role": "admin"}))
    done(by_jwt.get("/api/v1/users"))

    carol = caller(server, api_key=demo.CAROL_API_KEY)
    done(carol.patch(f"/api/v1/users/{demo.USER_ID}", json={"active": False}))

    assert by_jwt.get("/api/v1/users").status_code == 401


def test_an_admin_made_a_user_loses_administration_at_once(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    carol = caller(server, api_key=demo.CAROL_API_KEY)
    done(alice.patch(f"/api/v1/users/{demo.CAROL_ID}", json={"role": "admin"}))
    done(carol.get("/api/v1/users"))
    done(alice.patch(f"/api/v1/users/{demo.CAROL_ID}", json={"role": "user"}))
    assert carol.get("/api/v1/users").status_code == 403


def test_deleting_the_policies_denies_the_next_call(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    itself = caller(server, token=agent_token(server))
    done(list_repos(itself, demo))

    for policy in all_pages(alice, "/api/v1/policies"):
        done(alice.delete(f"/api/v1/policies/{policy['id']}"))

    refused = list_repos(itself, demo)
    assert (refused.status_code, refused.json()["detail"]) == (403, "Policy denied")


@pytest.mark.parametrize("holder", ["agent", "on behalf of Bob"])
def test_a_new_forbidding_policy_denies_the_next_call(server: Server, demo: DemoEnv, holder: str) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    token = agent_token(server) if holder == "agent" else obo_token(server, demo.BOB_ID)
    client = caller(server, token=token)
    done(list_repos(client, demo))
    forbid = f'forbid(principal, action, resource == Tool::"{demo.SERVER_ID}/list_repos");'

    policy = done(alice.post("/api/v1/policies", json={"name": "no listing", "text": forbid})).json()

    refused = list_repos(client, demo)
    assert (refused.status_code, refused.json()["detail"]) == (403, "Policy denied")
    assert policy["id"] in refused.json()["policies"]
    done(alice.delete(f"/api/v1/policies/{policy['id']}"))
    done(list_repos(client, demo))


def test_a_deactivated_server_is_gone_on_the_next_call(server: Server, demo: DemoEnv) -> None:
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    itself = caller(server, token=agent_token(server))
    done(list_repos(itself, demo))
    done(alice.patch(f"/api/v1/servers/{demo.SERVER_ID}", json={"active": False}))
    assert list_repos(itself, demo).status_code == 404
