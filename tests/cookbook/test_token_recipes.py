"""The recipes that get a token and call a tool with it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import recipes
import shell
from harness.api import caller, list_channels, list_repos, obo_token
from harness.server import Server
from tokens import verified_claims

TOKEN_LIFETIME_SECONDS = 3600


def python_variables(server: Server) -> dict[str, Any]:
    """The names that a Python recipe expects, with the demo organization's values."""
    demo = server.demo
    return {
        "httpx": httpx,
        "RUNLAYER_URL": demo.RUNLAYER_URL,
        "CLIENT_ID": demo.CLIENT_ID,
        "CLIENT_SECRET": demo.CLIENT_SECRET,
        "SERVER_ID": demo.SERVER_ID,
        "user_id": demo.USER_ID,
        "api_key": demo.API_KEY,
        "user_jwt": demo.USER_TOKEN,
        "agent_account_id": demo.AGENT_ACCOUNT_ID,
    }


def assert_m2m_token(server: Server, token: str) -> None:
    claims = verified_claims(server, token)
    assert claims["sub"] == server.demo.AGENT_ACCOUNT_ID
    assert claims["client_id"] == server.demo.CLIENT_ID
    assert claims["exp"] - claims["iat"] == TOKEN_LIFETIME_SECONDS
    assert "act" not in claims


def assert_obo_token(server: Server, token: str, user_id: str) -> None:
    """RFC 8693 section 4.1: the subject is the user, the actor is the agent account."""
    claims = verified_claims(server, token)
    assert claims["sub"] == user_id
    assert claims["act"] == {"sub": server.demo.AGENT_ACCOUNT_ID}
    assert claims["client_id"] == server.demo.CLIENT_ID
    assert claims["exp"] - claims["iat"] == TOKEN_LIFETIME_SECONDS


def assert_repos_of_acme_corp(call_tool_result: dict[str, Any]) -> None:
    assert not call_tool_result.get("isError")
    assert "acme-corp" in json.dumps(call_tool_result["content"])


def test_the_m2m_recipe_gets_the_agents_own_token_and_calls_a_tool(unchanged_server: Server) -> None:
    ran = shell.run(
        f"{recipes.M2M_TOKEN}\n{recipes.CALL_TOOL}",
        unchanged_server.demo_env_file,
        keep=("TOKEN_RESPONSE", "ACCESS_TOKEN"),
    )
    answer = json.loads(ran["TOKEN_RESPONSE"])
    assert answer["access_token"] == ran["ACCESS_TOKEN"]
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", TOKEN_LIFETIME_SECONDS)
    assert isinstance(answer["scope"], str)
    assert_m2m_token(unchanged_server, ran["ACCESS_TOKEN"])
    assert_repos_of_acme_corp(ran.json())


def test_the_m2m_recipe_in_python_gets_the_agents_own_token(unchanged_server: Server) -> None:
    variables = python_variables(unchanged_server)
    del variables["httpx"]  # the recipe imports it
    exec(recipes.M2M_TOKEN_PYTHON, variables)
    assert_m2m_token(unchanged_server, variables["access_token"])


def test_an_invalid_token_gets_the_401_on_which_the_cookbook_tells_clients_to_refresh(
    unchanged_server: Server,
) -> None:
    refused = list_repos(caller(unchanged_server, token="expired.or.broken"), unchanged_server.demo)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "recipe", [recipes.LIST_DELEGATIONS_BY_JWT, recipes.LIST_DELEGATIONS_BY_API_KEY], ids=["JWT", "API key"]
)
def test_the_delegations_recipe_lists_each_delegator_with_id_and_email(
    unchanged_server: Server, recipe: str
) -> None:
    demo = unchanged_server.demo
    listed = shell.run(recipe, unchanged_server.demo_env_file).json_stream()
    emails = {item["user_id"]: item["email"] for item in listed}
    assert len(listed) == 3
    assert {user: emails[user].split("@")[0].lower() for user in emails} == {
        demo.USER_ID: "alice",
        demo.BOB_ID: "bob",
        demo.CAROL_ID: "carol",
    }


def test_the_user_id_recipe_gets_a_token_on_behalf_of_the_user_and_calls_a_tool(
    unchanged_server: Server,
) -> None:
    ran = shell.run(
        f"{recipes.OBO_TOKEN_BY_USER_ID}\n{recipes.CALL_TOOL_ON_BEHALF}",
        unchanged_server.demo_env_file,
        keep=("OBO_TOKEN",),
    )
    assert_obo_token(unchanged_server, ran["OBO_TOKEN"], unchanged_server.demo.USER_ID)
    assert_repos_of_acme_corp(ran.json())


def test_the_user_id_recipe_works_for_each_delegator(unchanged_server: Server) -> None:
    bob = unchanged_server.demo.BOB_ID
    ran = shell.run(
        recipes.OBO_TOKEN_BY_USER_ID, unchanged_server.demo_env_file, keep=("OBO_TOKEN",), USER_ID=bob
    )
    assert_obo_token(unchanged_server, ran["OBO_TOKEN"], bob)


def test_the_user_id_recipe_in_python_gets_a_token_on_behalf_of_the_user(unchanged_server: Server) -> None:
    variables = python_variables(unchanged_server)
    exec(recipes.OBO_TOKEN_BY_USER_ID_PYTHON, variables)
    assert_obo_token(unchanged_server, variables["obo_token"], unchanged_server.demo.USER_ID)


def test_the_single_request_recipe_resolves_the_user_from_their_access_token(
    unchanged_server: Server,
) -> None:
    ran = shell.run(
        recipes.OBO_TOKEN_BY_ACCESS_TOKEN,
        unchanged_server.demo_env_file,
        keep=("OBO_TOKEN",),
    )
    assert_obo_token(unchanged_server, ran["OBO_TOKEN"], unchanged_server.demo.USER_ID)


def test_the_two_step_recipe_exchanges_the_agents_token_for_one_on_behalf_of_the_user(
    unchanged_server: Server,
) -> None:
    # "You already have AGENT_TOKEN from a client_credentials grant": the M2M recipe gets it.
    step_one = f"{recipes.M2M_TOKEN}\nAGENT_TOKEN=$ACCESS_TOKEN"
    ran = shell.run(
        f"{step_one}\n{recipes.OBO_TOKEN_IN_TWO_STEPS}\n{recipes.CALL_TOOL_ON_BEHALF}",
        unchanged_server.demo_env_file,
        keep=("TOKEN_RESPONSE", "OBO_TOKEN"),
    )
    answer = json.loads(ran["TOKEN_RESPONSE"])
    assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", TOKEN_LIFETIME_SECONDS)
    assert_obo_token(unchanged_server, ran["OBO_TOKEN"], unchanged_server.demo.USER_ID)
    assert_repos_of_acme_corp(ran.json())


@pytest.mark.parametrize("name", ["ALICE", "BOB", "CAROL"])
def test_the_find_user_recipe_maps_an_email_to_the_id_that_gets_the_token(
    unchanged_server: Server, name: str
) -> None:
    demo = unchanged_server.demo
    key = demo[f"{name}_API_KEY"]
    me = caller(unchanged_server, api_key=key).get("/api/v1/me").json()
    variables = python_variables(unchanged_server) | {"target_email": me["email"]}
    exec(recipes.FIND_USER_ID_PYTHON, variables)
    assert variables["user_id"] == (demo.USER_ID if name == "ALICE" else demo[f"{name}_ID"])
    assert_obo_token(
        unchanged_server, obo_token(unchanged_server, variables["user_id"]), variables["user_id"]
    )


def test_a_user_api_key_calls_tools_by_either_header(unchanged_server: Server) -> None:
    """ "They work anywhere a user JWT works — delegations, session grants, and proxy calls"."""
    demo = unchanged_server.demo
    for client in (
        caller(unchanged_server, api_key=demo.API_KEY),
        caller(unchanged_server, token=demo.API_KEY),
        caller(unchanged_server, token=demo.USER_TOKEN),
    ):
        response = list_repos(client, demo)
        assert response.status_code == 200
        assert_repos_of_acme_corp(response.json())


def test_a_user_api_key_reaches_an_oauth_server_with_its_owners_session_and_no_grant(
    unchanged_server: Server,
) -> None:
    demo = unchanged_server.demo
    for key, owner in ((demo.ALICE_API_KEY, "alice"), (demo.CAROL_API_KEY, "carol")):
        response = list_channels(caller(unchanged_server, api_key=key), demo)
        assert response.status_code == 200
        assert owner in json.dumps(response.json()).lower()


def test_a_user_api_key_cannot_authenticate_an_agent_account(unchanged_server: Server) -> None:
    """ "API keys cannot be used for agent account authentication"."""
    ran = shell.run(
        recipes.M2M_TOKEN,
        unchanged_server.demo_env_file,
        keep=("TOKEN_RESPONSE", "ACCESS_TOKEN"),
        CLIENT_SECRET=unchanged_server.demo.API_KEY,
    )
    assert json.loads(ran["TOKEN_RESPONSE"])["error"] == "invalid_client"
    assert ran["ACCESS_TOKEN"] == "null"
    in_its_own_header = caller(unchanged_server, api_key=unchanged_server.demo.API_KEY).post(
        "/api/v1/oauth/token", data={"grant_type": "client_credentials"}
    )
    assert (in_its_own_header.status_code, in_its_own_header.json()["error"]) == (401, "invalid_client")
