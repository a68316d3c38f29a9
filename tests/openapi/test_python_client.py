"""The calls of the cookbook, and those of an administrator, by the client that `openapi-python-client` generates.

Every answer must be one that the document describes: the client raises at any other status.
"""

from __future__ import annotations

import importlib
import re
from typing import Any
from uuid import UUID

import pytest
from harness.api import ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE, USER_EMAIL_TYPE, USER_ID_TYPE
from tools import Described


class Deputize:
    """The generated package, at the address that the document names."""

    def __init__(self, described: Described) -> None:
        self.package = importlib.import_module("deputize_client")
        self.models = importlib.import_module("deputize_client.models")
        self.demo = described.server.demo
        self.address = described.address
        self.document = described.document
        self.agent = UUID(self.demo.AGENT_ACCOUNT_ID)
        tags = {
            operation["operationId"]: operation["tags"][0]
            for methods in self.document["paths"].values()
            for operation in methods.values()
        }
        self._functions = {
            name: f"deputize_client.api.{tag.lower().replace(' ', '_')}.{name}" for name, tag in tags.items()
        }

    def anonymous(self) -> Any:
        return self.package.Client(base_url=self.address, raise_on_unexpected_status=True)

    def bearer(self, token: str) -> Any:
        return self.package.AuthenticatedClient(
            base_url=self.address, token=token, raise_on_unexpected_status=True
        )

    def user(self, api_key: str) -> Any:
        return self.package.AuthenticatedClient(
            base_url=self.address,
            token=api_key,
            prefix="",
            auth_header_name="x-runlayer-api-key",
            raise_on_unexpected_status=True,
        )

    def answer(self, operation: str, client: Any, *ids: Any, **arguments: Any) -> Any:
        """Calls the operation's function, which has its name."""
        module = importlib.import_module(self._functions[operation])
        return module.sync_detailed(*ids, client=client, **arguments)

    def call(self, operation: str, client: Any, *ids: Any, **arguments: Any) -> Any:
        """The parsed body of a success."""
        answer = self.answer(operation, client, *ids, **arguments)
        assert 200 <= answer.status_code < 300, answer
        return answer.parsed

    def refused(self, operation: str, client: Any, *ids: Any, **arguments: Any) -> tuple[int, str]:
        """Status and reason of a refusal."""
        answer = self.answer(operation, client, *ids, **arguments)
        assert isinstance(answer.parsed, self.models.ErrorBody), answer
        return answer.status_code.value, answer.parsed.reason.value

    def form(self, grant: str = "client_credentials", **fields: Any) -> Any:
        """A token request's form. The generated names of enumerations are long, so they are named by their values."""
        types = {
            "actor_token_type": self.models.ActorTokenType,
            "subject_token_type": self.models.AccessTokenType,
        }
        fields = {name: types.get(name, lambda value: value)(value) for name, value in fields.items()}
        return self.models.TokenRequest(grant_type=self.models.GrantType(grant), **fields)

    def token(self, **fields: str) -> str:
        """A token of Support Bot's."""
        client = {"client_id": UUID(self.demo.CLIENT_ID), "client_secret": self.demo.CLIENT_SECRET}
        return self.call("get_token", self.anonymous(), body=self.form(**client, **fields)).access_token

    def tool_call(self, tool: str, **arguments: str) -> Any:
        body = {"tool_name": tool, "arguments": arguments}
        return self.models.ToolCall.from_dict(body)


@pytest.fixture(scope="session")
def api(generated: Described) -> Deputize:
    return Deputize(generated)


def text_of(result: Any) -> str:
    return "\n".join(block["text"] for block in result.content)


def acting_as(api: Deputize, token: str) -> str:
    """Whose credentials a call at the OAuth-protected server used."""
    result = api.call(
        "call_tool", api.bearer(token), api.demo.SLACK_SERVER_ID, body=api.tool_call("list_channels")
    )
    return result.structured_content["acting_as"]


def test_an_agent_gets_its_own_token_lists_tools_and_calls_one(api: Deputize) -> None:
    agent = api.bearer(api.token())
    tools = api.call("list_tools", agent, api.demo.SERVER_ID).tools
    assert "list_repos" in [tool["name"] for tool in tools]
    call = api.tool_call("list_repos", org="acme-corp")
    result = api.call("call_tool", agent, api.demo.SERVER_ID, body=call)
    assert not result.is_error
    assert "acme-corp has 5 repositories" in text_of(result)


@pytest.mark.parametrize("kind", [USER_ID_TYPE, USER_EMAIL_TYPE, ACCESS_TOKEN_TYPE])
def test_a_token_on_behalf_of_a_user_by_id_email_and_jwt_calls_a_tool(api: Deputize, kind: str) -> None:
    me = api.call("get_me", api.user(api.demo.API_KEY))
    actor = {USER_ID_TYPE: str(me.id), USER_EMAIL_TYPE: me.email, ACCESS_TOKEN_TYPE: api.demo.USER_ACCESS_TOKEN}[kind]
    token = api.token(actor_token=actor, actor_token_type=kind)
    said = introspected(api, token)
    assert (said.active, said.sub, said.act.sub) == (True, me.id, api.agent)
    call = api.tool_call("list_repos", org="acme-corp")
    assert "acme-corp" in text_of(api.call("call_tool", api.bearer(token), api.demo.SERVER_ID, body=call))


def test_an_agents_token_and_a_users_are_exchanged(api: Deputize) -> None:
    form = api.form(
        TOKEN_EXCHANGE,
        subject_token=api.token(),
        subject_token_type=ACCESS_TOKEN_TYPE,
        actor_token=api.demo.USER_ACCESS_TOKEN,
        actor_token_type=ACCESS_TOKEN_TYPE,
    )
    answer = api.call("get_token", api.anonymous(), body=form)
    assert answer.issued_token_type == ACCESS_TOKEN_TYPE
    assert introspected(api, answer.access_token).sub == UUID(api.demo.USER_ID)


def introspected(api: Deputize, token: str) -> Any:
    return api.call("introspect_token", api.anonymous(), body=token_to_look_at(api, token))


def token_to_look_at(api: Deputize, token: str) -> Any:
    return api.models.TokenToLookAt(
        token=token, client_id=UUID(api.demo.CLIENT_ID), client_secret=api.demo.CLIENT_SECRET
    )


def test_a_revoked_token_is_not_active_any_more(api: Deputize) -> None:
    token = api.token()
    assert introspected(api, token).active
    api.call("revoke_token", api.anonymous(), body=token_to_look_at(api, token))
    assert not introspected(api, token).active


def test_the_delegations_name_each_user_and_one_is_revoked_and_made_again(api: Deputize) -> None:
    admin, bob = api.user(api.demo.API_KEY), api.user(api.demo.BOB_API_KEY)
    listed = api.call("list_delegations", admin, api.agent)
    assert {str(item.delegator_user_id) for item in listed} == {
        api.demo.USER_ID, api.demo.BOB_ID, api.demo.CAROL_ID
    }  # fmt: skip
    [own] = api.call("list_my_delegations", bob)
    api.call("revoke_delegation", bob, own.id)
    by_id = {"actor_token": api.demo.BOB_ID, "actor_token_type": USER_ID_TYPE}
    form = api.form(client_id=UUID(api.demo.CLIENT_ID), client_secret=api.demo.CLIENT_SECRET, **by_id)
    assert api.refused("get_token", api.anonymous(), body=form) == (403, "delegation_missing")
    made = api.call("create_delegation", bob, api.agent, body=api.models.CreateDelegation())
    assert made.is_active and made.id != own.id
    assert api.token(**by_id)


def test_a_session_grant_is_made_shared_and_revoked(api: Deputize) -> None:
    demo = api.demo
    alice = api.user(demo.ALICE_API_KEY)
    as_bob = {"actor_token": demo.BOB_ID, "actor_token_type": USER_ID_TYPE}
    body = api.models.CreateSessionGrant(server_id=demo.SLACK_SERVER_ID, shared=False)
    grant = api.call("create_session_grant", alice, api.agent, body=body)
    assert (grant.shared, grant.is_active) == (False, True)
    no_grant = api.refused(
        "call_tool", api.bearer(api.token(**as_bob)), demo.SLACK_SERVER_ID, body=api.tool_call("list_channels")
    )
    assert no_grant == (401, "no_credentials")
    toggle = api.models.ToggleSessionGrant(server_id=demo.SLACK_SERVER_ID)
    assert api.call("toggle_session_grant", alice, api.agent, body=toggle).shared
    assert acting_as(api, api.token(**as_bob)).startswith("alice")
    listed = api.call("list_session_grants", alice, api.agent, server_id=demo.SLACK_SERVER_ID)
    assert [item.id for item in listed] == [grant.id]
    assert not api.call("revoke_session_grant", alice, grant.id).is_active


def test_an_agent_account_is_created_used_changed_and_disabled(api: Deputize) -> None:
    admin, models = api.user(api.demo.API_KEY), api.models
    made = api.call("create_agent_account", admin, body=models.CreateAgentAccount(name="Generated"))
    assert api.call("get_agent_account", admin, made.id).name == "Generated"
    form = api.form(client_id=made.client_id, client_secret=made.client_secret)
    api.call("get_token", api.anonymous(), body=form)
    added = api.call("add_client_secret", admin, made.id, body=models.AddClientSecret())
    secrets = api.call("list_client_secrets", admin, made.id)
    assert added.id in [secret.id for secret in secrets] and len(secrets) == 2
    api.call("revoke_client_secret", admin, made.id, made.client_secret_id)
    assert api.refused("get_token", api.anonymous(), body=form) == (401, "client_refused")
    renamed = models.UpdateAgentAccount(name="Renamed", active=False)
    changed = api.call("update_agent_account", admin, made.id, body=renamed)
    assert (changed.name, changed.active) == ("Renamed", False)


def test_a_policy_is_checked_and_a_user_refused_what_an_admin_may(api: Deputize) -> None:
    admin, bob = api.user(api.demo.API_KEY), api.user(api.demo.BOB_API_KEY)
    asked = api.models.CheckPolicies.from_dict({
        "user_id": api.demo.BOB_ID, "server_id": "demo", "tool_name": "delete_repo", "arguments": {},
    })  # fmt: skip
    decision = api.call("check_policies", bob, body=asked)
    assert (decision.decision.value, decision.denied_for.value) == ("deny", "user")
    policy = api.models.SavePolicy(name="generated", text='forbid(principal, action, resource in Server::"none");')
    assert api.refused("create_policy", bob, body=policy) == (403, "admin_required")
    made = api.call("create_policy", admin, body=policy)
    assert api.call("get_policy", admin, made.id).text == policy.text
    api.call("delete_policy", admin, made.id)
    assert api.refused("get_policy", admin, made.id) == (404, "not_found")


def test_users_keys_and_servers_are_managed(api: Deputize) -> None:
    admin, models = api.user(api.demo.API_KEY), api.models
    user = api.call("create_user", admin, body=models.CreateUser(email="generated@example.com"))
    changed = api.call("update_user", admin, user.id, body=models.UpdateUser(role=models.Role.ADMIN))
    assert changed.role == models.Role.ADMIN
    key = api.call("create_api_key", admin, body=models.CreateApiKey(name="generated"))
    assert str(api.call("get_me", api.user(key.key)).id) == api.demo.USER_ID
    api.call("revoke_my_api_key", admin, key.id)
    assert api.refused("get_me", api.user(key.key)) == (401, "api_key_refused")
    url = "https://generated.example.com/mcp"
    server = api.call("create_server", admin, body=models.CreateServer(name="Generated", url=url))
    assert api.call("get_server", admin, server.id).url == url
    stopped = api.call("update_server", admin, server.id, body=models.UpdateServer(active=False))
    assert not stopped.active


def test_every_document_and_list_is_read(api: Deputize) -> None:
    """Each operation that needs no argument, as an admin: the generated models read the real answers."""
    admin, read = api.user(api.demo.API_KEY), []
    for path, methods in api.document["paths"].items():
        operation = methods.get("get")
        if operation is None or "{" in path or path.startswith("/api/v1/oauth/"):
            continue
        name = operation["operationId"]
        client = api.anonymous() if operation["security"] == [{}] else admin
        assert api.call(name, client) is not None, name
        read.append(name)
    assert len(read) >= 16, read


def test_every_operation_has_a_function_of_its_name(api: Deputize) -> None:
    for name, module in api._functions.items():
        assert callable(importlib.import_module(module).sync_detailed), name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name), name
