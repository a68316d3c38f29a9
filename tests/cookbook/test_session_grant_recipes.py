"""The session grant recipes, run with `SERVER_ID=$SLACK_SERVER_ID`.

The cookbook uses the name SERVER_ID for every server. A session grant needs an OAuth-protected one. In the demo
organization that is `demo-oauth` (SLACK_SERVER_ID).
"""

from __future__ import annotations

from typing import Any

import pytest
import recipes
import shell
from harness.api import caller, create_grant, list_channels, obo_token, text_of
from harness.demo_env import DemoEnv
from harness.server import Server


def run(server: Server, recipe: str, **variables: str) -> Any:
    ran = shell.run(recipe, server.demo_env_file, SERVER_ID=server.demo.SLACK_SERVER_ID, **variables)
    return ran.json() if ran.stdout.strip() else None


@pytest.mark.parametrize(
    "recipe", [recipes.CREATE_GRANT_BY_JWT, recipes.CREATE_GRANT_BY_API_KEY], ids=["JWT", "API key"]
)
def test_the_create_recipe_makes_a_personal_grant_of_the_caller(
    server: Server, demo: DemoEnv, recipe: str
) -> None:
    grant = run(server, recipe)
    assert grant["id"]
    assert grant["agent_account_id"] == demo.AGENT_ACCOUNT_ID
    assert grant["server_id"] == demo.SLACK_SERVER_ID
    assert grant["grantor_user_id"] == demo.USER_ID
    assert (grant["shared"], grant["is_active"]) == (False, True)
    assert grant["created_at"] and grant["updated_at"]
    as_alice = caller(server, token=obo_token(server, demo.USER_ID))
    assert "alice" in text_of(list_channels(as_alice, demo)).lower()


def test_creating_again_with_the_other_credential_returns_the_same_grant(server: Server) -> None:
    first = run(server, recipes.CREATE_GRANT_BY_JWT)
    again = run(server, recipes.CREATE_GRANT_BY_API_KEY)
    assert again["id"] == first["id"]
    assert len(run(server, recipes.LIST_GRANTS)) == 1


def test_the_list_recipes_show_own_and_shared_grants_but_never_anothers_personal_one(
    server: Server, demo: DemoEnv
) -> None:
    carol = caller(server, api_key=demo.CAROL_API_KEY)
    create_grant(carol, demo)
    assert run(server, recipes.LIST_GRANTS) == []

    create_grant(carol, demo, shared=True)
    own = run(server, recipes.CREATE_GRANT_BY_API_KEY)
    for recipe in (recipes.LIST_GRANTS, recipes.LIST_GRANTS_OF_SERVER):
        listed = {grant["grantor_user_id"]: grant["shared"] for grant in run(server, recipe)}
        assert listed == {demo.CAROL_ID: True, demo.USER_ID: False}
    assert own["id"] in [grant["id"] for grant in run(server, recipes.LIST_GRANTS)]


def test_the_filter_recipe_lists_only_the_grants_of_that_server(server: Server, demo: DemoEnv) -> None:
    run(server, recipes.CREATE_GRANT_BY_API_KEY)
    elsewhere = shell.run(recipes.LIST_GRANTS_OF_SERVER, server.demo_env_file, SERVER_ID=demo.SERVER_ID)
    assert elsewhere.json() == []
    assert len(run(server, recipes.LIST_GRANTS_OF_SERVER)) == 1


def test_the_toggle_recipe_flips_the_grant_and_twice_flips_it_back(server: Server) -> None:
    created = run(server, recipes.CREATE_GRANT_BY_API_KEY)
    toggled = [run(server, recipes.TOGGLE_GRANT) for _ in range(3)]
    assert [grant["shared"] for grant in toggled] == [True, False, True]
    assert {grant["id"] for grant in toggled} == {created["id"]}


def test_the_toggle_endpoint_ignores_shared_in_the_body(server: Server, demo: DemoEnv) -> None:
    run(server, recipes.CREATE_GRANT_BY_API_KEY)
    toggled = caller(server, api_key=demo.API_KEY).post(
        f"/api/v1/agent-accounts/{demo.AGENT_ACCOUNT_ID}/session-grants/toggle",
        json={"server_id": demo.SLACK_SERVER_ID, "shared": False},
    )
    assert toggled.json()["shared"] is True


def test_the_toggle_recipe_to_shared_revokes_every_other_grantors_grant(
    server: Server, demo: DemoEnv
) -> None:
    carol = caller(server, api_key=demo.CAROL_API_KEY)
    create_grant(carol, demo, shared=True)
    run(server, recipes.CREATE_GRANT_BY_API_KEY)
    assert run(server, recipes.TOGGLE_GRANT)["shared"] is True

    active = [grant for grant in run(server, recipes.LIST_GRANTS) if grant["is_active"]]
    assert [(grant["grantor_user_id"], grant["shared"]) for grant in active] == [(demo.USER_ID, True)]
    as_carol = text_of(list_channels(caller(server, token=obo_token(server, demo.CAROL_ID)), demo))
    assert "alice" in as_carol.lower()


def test_the_revoke_recipe_ends_the_grant_but_not_the_delegation(server: Server, demo: DemoEnv) -> None:
    grant = run(server, recipes.CREATE_GRANT_BY_API_KEY)
    run(server, recipes.REVOKE_GRANT, GRANT_ID=grant["id"])
    assert [g for g in run(server, recipes.LIST_GRANTS) if g["is_active"]] == []

    # "The agent can still issue OBO tokens for that user, but calls to the affected OAuth server will
    # fail until a new session grant is created."
    as_alice = caller(server, token=obo_token(server, demo.USER_ID))
    refused = list_channels(as_alice, demo)
    assert (refused.status_code, refused.json()["detail"]) == (
        401,
        "No credentials available for this server",
    )
    assert run(server, recipes.CREATE_GRANT_BY_API_KEY)["is_active"] is True
    assert "alice" in text_of(list_channels(as_alice, demo)).lower()
