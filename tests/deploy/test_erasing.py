"""The hourly rule as CloudFormation has made it: what it sends, to whom, and that the admin function does it."""

from __future__ import annotations

import json
from typing import Any

from emulated.deployment import Deployment
from emulated.organization import allowed, come_back
from emulated.stack import NAME
from harness.api import caller, done
from harness.demo_env import DemoEnv
from harness.secrets_ledger import LEDGER

ERASES = f"{NAME}-admin"


def the_target(server: Deployment) -> dict[str, Any]:
    events = server.emulator.client("events")
    [rule] = events.list_rules()["Rules"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 hour)", "ENABLED")
    [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    return target


def invoked(server: Deployment, function: str, event: str) -> dict[str, Any]:
    """As EventBridge does it, but waiting for the answer."""
    answered = server.emulator.client("lambda").invoke(FunctionName=function, Payload=event.encode())
    assert "FunctionError" not in answered, answered["Payload"].read()
    return json.loads(answered["Payload"].read())


def test_what_the_rule_sends_is_done_and_can_be_done_again(server: Deployment) -> None:
    """Lambda may send the same event twice, and sends it again if it fails."""
    target = the_target(server)
    assert target["Arn"].endswith(f":function:{ERASES}")
    for _ in range(2):
        assert invoked(server, ERASES, target["Input"]) == {"erased": 0, "unfinished": False}


def of_what_was_deleted(server: Deployment) -> list[dict[str, Any]]:
    return [item for (pk, _), item in server._items().items() if pk.startswith("DELETED")]


def a_month_goes_by(server: Deployment) -> None:
    """For what was deleted: the emulator's clock is the machine's. An entry's sort key begins with the time."""
    table, items = server.emulator.client("dynamodb"), of_what_was_deleted(server)
    name = server.stack.outputs["TableName"]
    entries = [item for item in items if item["pk"]["S"].startswith("DELETED_LIST#")]
    for until in {item["sk"]["S"].split("#")[0] for item in entries}:
        for item in items:
            aged = json.loads(json.dumps(item).replace(until, "2026-01-01T00:00:00.000Z"))
            if aged != item:
                if "deleted_at" in aged:
                    aged["deleted_at"] = {"S": "2025-12-02T00:00:00.000Z"}
                table.delete_item(TableName=name, Key={"pk": item["pk"], "sk": item["sk"]})
                table.put_item(TableName=name, Item=aged)


def test_what_was_deleted_is_restored_and_in_the_end_erased(server: Deployment, demo: DemoEnv) -> None:
    alice, carol = caller(server, api_key=demo.ALICE_API_KEY), caller(server, api_key=demo.CAROL_API_KEY)
    begun = done(carol.post("/api/v1/servers/demo-oauth/connect", json={})).json()
    come_back(carol, allowed(begun["authorization_url"], "carol", demo.DEMO_PASSWORD))
    agent = f"/api/v1/agent-accounts/{demo.AGENT_ID}"
    done(carol.post(f"{agent}/delegations", json={"server_ids": ["demo-oauth"]}))
    done(carol.post(f"{agent}/session-grants", json={"server_id": "demo-oauth"}))
    stays = done(alice.post("/api/v1/agent-accounts", json={"name": "Stays"})).json()
    LEDGER.add("client_secret", stays["client_secret"])
    done(carol.post(f"/api/v1/agent-accounts/{stays['id']}/delegations", json={"server_ids": ["demo-oauth"]}))
    new = {"name": "Short-lived", "text": "permit(principal, action, resource);"}
    policy = done(alice.post("/api/v1/policies", json=new)).json()
    key = done(alice.post("/api/v1/api-keys", json={"name": "short-lived"})).json()
    LEDGER.add("key", key["key"])
    things = {
        "server": ("demo-oauth", "/api/v1/servers/demo-oauth"),
        "agent_account": (demo.AGENT_ID, agent),
        "user": (demo.BOB_ID, f"/api/v1/users/{demo.BOB_ID}"),
        "policy": (policy["id"], f"/api/v1/policies/{policy['id']}"),
        "api_key": (key["id"], f"/api/v1/api-keys/{key['id']}"),
    }
    cascade = {"server", "agent_account", "user"}
    for kind, (of, path) in things.items():
        if kind in cascade:
            assert alice.delete(path).json()["reason"] == "has_dependents"
        for _ in range(2):
            done(alice.delete(path, params={"cascade": "true"} if kind in cascade else {}))
        done(alice.post(f"/api/v1/deleted/{kind}/{of}/restore", json={}))
        done(alice.delete(path, params={"cascade": "true"} if kind in cascade else {}))
        assert [one["id"] for one in done(alice.get(f"/api/v1/deleted/{kind}")).json()] == [of]
    target = the_target(server)
    assert invoked(server, ERASES, target["Input"]) == {"erased": 0, "unfinished": False}
    a_month_goes_by(server)
    assert invoked(server, ERASES, target["Input"]) == {"erased": len(things), "unfinished": False}
    assert of_what_was_deleted(server) == []


def test_an_operator_does_the_same_at_any_time(server: Deployment) -> None:
    erased = server.stack.erase()
    assert (erased.returncode, erased.stdout) == (0, ""), erased.stderr
    assert "Nothing is left that is to be erased." in erased.stderr


def test_no_other_function_takes_it(unchanged_server: Deployment) -> None:
    refused = invoked(unchanged_server, f"{NAME}-grants", the_target(unchanged_server)["Input"])
    assert refused["statusCode"] == 400, refused
