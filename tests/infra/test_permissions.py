"""Each function may do what it must, and no more: forbidden requests are tried against the synthesized policies.

tests/deploy shows that the policies suffice: there they are enforced while the cookbook runs.
"""

from __future__ import annotations

import pytest
from policies import Policy, Request, on_the_table, with_the_key
from templates import FUNCTIONS, Stack

USER = "USER#0197c5a0-0000-7000-8000-000000000001"
AGENT = "AGENT#0197c5a0-0000-7000-8000-000000000002"
DELEGATION = "DELEGATION#0197c5a0-0000-7000-8000-000000000003"
GRANT = "GRANT#0197c5a0-0000-7000-8000-000000000004"
CHANGES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete")
# Every kind of partition, as functions/core/src/table/key.rs lists them.
PARTITIONS = (
    USER,
    "EMAIL#alice@example.com",
    "IDENTITY#00ff",
    AGENT,
    DELEGATION,
    GRANT,
    "SERVER#demo",
    "CONNECTING#00ff",
    "SID#00ff",
    "SIGN_IN#00ff",
    "SIGN_IN_SECRETS",
    "LOGOUT#00ff",
    "APP#00ff",
    "APP_HOST#app.example",
    "APP_KEYS",
    "APPS",
    "APP_BLOCKS",
    "CODE#00ff",
    "GROUP#00ff",
    "ONCE#00ff",
    "GONE#00ff",
    "AT_SERVER#demo",
    "DELETED#user#0197c5a0-0000-7000-8000-000000000001",
    "DELETED_LIST#user",
    "POLICIES",
    "CONTROL#7",
    "SIGNING_KEYS",
    "MCP_SESSION_KEYS",
    "REVOKED#0197c5a0-0000-7000-8000-000000000005",
    "ASSERTION#0197c5a0-0000-7000-8000-000000000002#00ff",
    "AUDIT#2026-11-25#a",
    "USERS",
    "AGENTS",
    "SERVERS",
)
ID_TOKEN = "ID_TOKEN#0197c5a0-0000-7000-8000-000000000006"
SEALED = (
    "SIGNING_KEYS",
    USER,
    "SERVER#demo",
    "CONNECTING#00ff",
    "MCP_SESSION_KEYS",
    "APP_KEYS",
    "SIGN_IN_SECRETS",
    ID_TOKEN,
)


def policy(stack: Stack, name: str) -> Policy:
    return Policy(stack.statements(name))


def who_may(stack: Stack, request: Request) -> set[str]:
    return {name for name in FUNCTIONS if policy(stack, name).allows(request)}


def may(stack: Stack, name: str, action: str) -> set[str]:
    """The kinds of partition on which a function may do something."""
    allowed = policy(stack, name).allows
    return {key.split("#")[0] for key in PARTITIONS if allowed(on_the_table(action, key))}


def test_only_who_delegates_writes_delegations_and_who_ends_them_for_a_leaver(stack: Stack) -> None:
    """Tokens and calls depend on the item in the agent's partition, which also holds the agents' owners, and grants. The
    console function has the pages on which people delegate. The admin function ends and deletes delegations, with what
    leads to them, when it erases an account or a server."""
    for change in CHANGES:
        erases = {"admin"} if change in ("PutItem", "DeleteItem") else set()
        assert who_may(stack, on_the_table(change, DELEGATION)) <= {"delegations", "grants", "console"} | erases
        assert who_may(stack, on_the_table(change, AGENT)) <= {"delegations", "grants", "admin", "console"}
    assert who_may(stack, on_the_table("DeleteItem", AGENT)) == {"admin"}


def test_the_proxy_writes_neither_delegations_nor_grants(stack: Stack) -> None:
    for change in CHANGES:
        for key in (AGENT, DELEGATION, GRANT, "POLICIES", "CONTROL#0", "SIGNING_KEYS", "AGENTS", "SERVERS"):
            assert not policy(stack, "proxy").allows(on_the_table(change, key)), (change, key)


def test_only_the_grants_function_and_the_console_write_the_pointers_of_grants(stack: Stack) -> None:
    """The admin function deletes those of what it erases."""
    for change in CHANGES:
        erases = {"admin"} if change == "DeleteItem" else {"console"}
        assert who_may(stack, on_the_table(change, GRANT)) <= {"grants"} | erases


def test_only_the_admin_function_reads_what_was_deleted(stack: Stack) -> None:
    """No decision may rest on it, so no other function can read it. The grants function, which ends what a user has here,
    puts users there."""
    for key in ("DELETED#user#0197c5a0-0000-7000-8000-000000000001", "DELETED_LIST#user"):
        for action in ("BatchGetItem", "GetItem", "Query", *CHANGES):
            keeps = {"grants"} if action == "PutItem" else set()
            assert who_may(stack, on_the_table(action, key)) <= {"admin"} | keeps, (action, key)


def test_the_console_function_keeps_and_restores_deleted_api_keys_alone(stack: Stack) -> None:
    for kind in ("user", "agent_account", "server", "policy", "api_key"):
        key, entry = f"DELETED#{kind}#0197c5a0-0000-7000-8000-000000000001", f"DELETED_LIST#{kind}"
        for action, pk in (("BatchGetItem", key), ("PutItem", key), ("PutItem", entry), ("DeleteItem", key), ("DeleteItem", entry)):
            may_it = policy(stack, "console").allows(on_the_table(action, pk))
            assert may_it == (kind == "api_key"), (action, pk)


def test_only_the_admin_function_changes_policies_and_their_version(stack: Stack) -> None:
    for change in CHANGES:
        for key in ("POLICIES", "CONTROL#0", "AGENTS", "SERVERS"):
            assert who_may(stack, on_the_table(change, key)) <= {"admin"}


def test_only_the_token_function_opens_signing_keys(stack: Stack) -> None:
    assert who_may(stack, with_the_key("Decrypt", "SIGNING_KEYS")) == {"token"}


def test_the_token_function_opens_signing_keys_and_the_key_of_registrations_alone(stack: Stack) -> None:
    opened = {key for key in SEALED if policy(stack, "token").allows(with_the_key("Decrypt", key))}
    assert opened == {"SIGNING_KEYS", "APP_KEYS"}


def test_only_the_console_function_signs_people_in(stack: Stack) -> None:
    """It reads our secrets at the providers, which an operator stores, and opens the ID tokens of sessions."""
    assert who_may(stack, with_the_key("Decrypt", "SIGN_IN_SECRETS")) == {"console"}
    assert who_may(stack, with_the_key("Decrypt", ID_TOKEN)) == {"console"}
    assert who_may(stack, on_the_table("BatchGetItem", "SIGN_IN_SECRETS")) == {"console"}
    for change in CHANGES:
        assert who_may(stack, on_the_table(change, "SIGN_IN_SECRETS")) == set()
        assert who_may(stack, on_the_table(change, "SIGN_IN#00ff")) <= {"console"}


def test_only_the_console_function_registers_and_blocks_apps(stack: Stack) -> None:
    for change in CHANGES:
        for key in ("APP#00ff", "APP_HOST#app.example", "APPS", "APP_BLOCKS"):
            assert who_may(stack, on_the_table(change, key)) <= {"console"}


def test_the_console_function_gives_codes_and_reads_none(stack: Stack) -> None:
    """What redeems a code is the token function."""
    assert who_may(stack, on_the_table("BatchGetItem", "CODE#00ff")) == {"token"}
    assert who_may(stack, on_the_table("PutItem", "CODE#00ff")) == {"token", "console"}


def test_only_the_proxy_opens_upstream_tokens_and_who_revokes_them_at_the_provider(stack: Stack) -> None:
    """The grants function seals those that it gets, and opens those of a connection that is deleted (RFC 7009)."""
    assert who_may(stack, with_the_key("Decrypt", USER)) == {"proxy", "grants"}
    assert who_may(stack, with_the_key("GenerateDataKey", USER)) == {"proxy", "grants"}


def test_the_delegations_function_has_no_use_of_any_key(stack: Stack) -> None:
    assert not any("kms:" in str(statement["Action"]) for statement in stack.statements("delegations"))
    assert "DEPUTIZE_VAULT_KMS_KEY" not in stack.function("delegations").properties["Environment"]["Variables"]


def test_the_admin_function_makes_signing_keys_and_opens_nothing(stack: Stack) -> None:
    admin = policy(stack, "admin")
    assert admin.allows(with_the_key("GenerateDataKey", "SIGNING_KEYS"))
    assert not any(admin.allows(with_the_key("Decrypt", key)) for key in SEALED)


def test_a_key_without_an_items_key_for_context_is_no_use_to_anybody(stack: Stack) -> None:
    for action in ("Decrypt", "GenerateDataKey", "Encrypt", "ReEncryptFrom", "CreateGrant", "PutKeyPolicy"):
        assert who_may(stack, Request(f"kms:{action}", "${VaultKey.Arn}")) == set()


def test_the_trail_is_written_by_all_and_rewritten_by_nobody(stack: Stack) -> None:
    event = "AUDIT#2026-11-25#a"
    assert who_may(stack, on_the_table("PutItem", event)) == set(FUNCTIONS)
    for change in ("DeleteItem", "UpdateItem"):
        assert who_may(stack, on_the_table(change, event)) == set()
    assert who_may(stack, on_the_table("BatchGetItem", event)) == {"admin", "console"}


def test_a_batch_write_is_of_audit_events_alone(stack: Stack) -> None:
    """It needs no permission to put or to delete. With another partition it could do both."""
    for name in FUNCTIONS:
        assert may(stack, name, "BatchWriteItem") <= {"AUDIT"}
        assert not policy(stack, name).allows(on_the_table("BatchWriteItem", "AUDIT#2026-11-25#a", AGENT))


def test_one_foreign_key_in_a_batch_refuses_it(stack: Stack) -> None:
    assert policy(stack, "token").allows(on_the_table("BatchGetItem", AGENT, USER))
    assert not policy(stack, "token").allows(on_the_table("BatchGetItem", AGENT, "MCP_SESSION_KEYS"))


def test_nobody_scans_or_describes_or_does_anything_to_the_table_as_a_whole(stack: Stack) -> None:
    for action in ("Scan", "DeleteTable", "UpdateTable", "ExportTableToPointInTime", "DescribeTable", "PartiQLSelect"):
        assert who_may(stack, Request(f"dynamodb:{action}", "${Table.Arn}")) == set()


def test_a_request_that_names_no_partition_is_refused(stack: Stack) -> None:
    """`ForAllValues` is true if there are no values."""
    for action in ("BatchGetItem", "Query", "PutItem", "DeleteItem", "BatchWriteItem"):
        assert who_may(stack, Request(f"dynamodb:{action}", "${Table.Arn}")) == set()


def test_only_the_admin_function_searches_the_trail_and_the_console_by_user(stack: Stack) -> None:
    for index in ("audit_by_agent", "audit_by_user", "audit_by_server"):
        by_user = {"console"} if index == "audit_by_user" else set()
        assert who_may(stack, Request("dynamodb:Query", f"${{Table.Arn}}/index/{index}")) == {"admin"} | by_user


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_writes_no_log_but_its_own(stack: Stack, name: str) -> None:
    for action in ("CreateLogStream", "PutLogEvents"):
        own = Request(f"logs:{action}", f"${{{name.capitalize()}Log.Arn}}")
        assert who_may(stack, own) == {name}


def test_no_statement_has_a_wildcard_for_an_action_or_a_resource(stack: Stack) -> None:
    for name in FUNCTIONS:
        for statement in stack.statements(name):
            assert "*" not in str(statement["Action"]) + str(statement["Resource"]), statement
            assert statement["Effect"] == "Allow"


def test_only_the_gateway_invokes_the_functions_and_only_for_this_api_and_one_the_schedule(stack: Stack) -> None:
    of_any = [of.properties for of in stack.resources.values() if of.type == "AWS::Lambda::Permission"]
    permissions = [permission for permission in of_any if permission["Principal"] != "events.amazonaws.com"]
    assert len(permissions) == len(FUNCTIONS)
    assert {permission["FunctionName"] for permission in permissions} == {
        f"${{{name.capitalize()}Function.Arn}}" for name in FUNCTIONS
    }
    for permission in permissions:
        assert permission["Principal"] == "apigateway.amazonaws.com"
        assert permission["SourceArn"].endswith(":${Api}/live/*")
    [scheduled] = [permission for permission in of_any if permission not in permissions]
    assert (scheduled["FunctionName"], scheduled["SourceArn"]) == ("${AdminFunction.Arn}", "${AdminSchedule.Arn}")
