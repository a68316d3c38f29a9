"""The complete Python example: first all of it, then each branch that a successful run does not reach."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import recipes
from harness.api import caller, list_channels, text_of
from harness.server import Server


def run_example(server: Server) -> dict[str, Any]:
    """Executes the example without its placeholder lines. Returns its definitions."""
    demo = server.demo
    variables: dict[str, Any] = {
        "RUNLAYER_URL": demo.RUNLAYER_URL,
        "CLIENT_ID": demo.CLIENT_ID,
        "CLIENT_SECRET": demo.CLIENT_SECRET,
        "SERVER_ID": demo.SERVER_ID,
        "user_id": demo.USER_ID,
    }
    exec(recipes.without_placeholders(recipes.COMPLETE_EXAMPLE_PYTHON), variables)
    return variables


def test_the_script_runs_to_its_end_and_prints_the_result(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    example = run_example(server)
    assert not example["result"].get("isError")
    assert capsys.readouterr().out == f"{example['result']}\n"
    assert "acme-corp" in str(example["result"]["content"])


def test_its_get_obo_token_reports_a_missing_delegation(server: Server) -> None:
    example = run_example(server)
    with pytest.raises(RuntimeError) as raised:
        example["get_obo_token"](str(uuid4()))
    assert str(raised.value) == (
        "OBO token failed: invalid_grant: No valid delegation. Check that a delegation exists for this user."
    )


def test_its_call_tool_reports_a_missing_session_grant(server: Server) -> None:
    example, slack = run_example(server), server.demo.SLACK_SERVER_ID
    with pytest.raises(RuntimeError, match=f"^Missing session grant for server {slack}. The user"):
        example["call_tool"](example["obo_token"], slack, "list_channels", {})


def test_its_create_session_grant_lets_call_tool_reach_the_oauth_server(server: Server) -> None:
    example, demo = run_example(server), server.demo
    grant = example["create_session_grant"](demo.API_KEY, demo.AGENT_ACCOUNT_ID, demo.SLACK_SERVER_ID)
    assert (grant["grantor_user_id"], grant["shared"]) == (demo.USER_ID, False)
    called = example["call_tool"](example["obo_token"], demo.SLACK_SERVER_ID, "list_channels", {})
    assert "alice" in str(called["content"]).lower()


def test_its_create_session_grant_honours_shared(server: Server) -> None:
    example, demo = run_example(server), server.demo
    grant = example["create_session_grant"](
        demo.API_KEY, demo.AGENT_ACCOUNT_ID, demo.SLACK_SERVER_ID, shared=True
    )
    assert grant["shared"] is True
    as_bob = caller(server, token=example["get_obo_token"](demo.BOB_ID))
    assert "alice" in text_of(list_channels(as_bob, demo)).lower()
