"""Each function is watched, and its logs end some day."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from templates import FUNCTIONS, REPOSITORY, Stack


def alarms(stack: Stack) -> dict[str, dict]:
    return {name: of.properties for name, of in stack.resources.items() if of.type == "AWS::CloudWatch::Alarm"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_alarms_for_errors_throttles_and_latency(stack: Stack, name: str) -> None:
    function = f"${{{name.capitalize()}Function}}"
    of_it = [
        alarm["MetricName"]
        for alarm in alarms(stack).values()
        if {"Name": "FunctionName", "Value": function} in alarm.get("Dimensions", [])
    ]
    assert sorted(of_it) == ["Duration", "Errors", "Throttles"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_an_alarm_for_what_it_refuses(stack: Stack, name: str) -> None:
    """By the name that functions/service gives the metric's dimension: the function's own."""
    alarm = alarms(stack)[f"{name.capitalize()}Denied"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("Deputize", "Denied")
    assert alarm["Dimensions"] == [{"Name": "Function", "Value": f"${{{name.capitalize()}Function}}"}]


def test_alarms_tell_somebody_if_there_is_somebody_to_tell(
    sam: Callable[[str], Stack], cdk: Callable[[str], Stack]
) -> None:
    for load in (sam, cdk):
        assert all("AlarmActions" not in alarm for alarm in alarms(load("default")).values())
        for alarm in alarms(load("everything")).values():
            assert alarm["AlarmActions"] == alarm["OKActions"] == ["${AlarmTopic}"]


def test_each_alarm_is_in_the_handbook(stack: Stack) -> None:
    """Whoever is woken by one finds what it means."""
    handbook = (REPOSITORY / "infra" / "README.md").read_text()
    for name in alarms(stack):
        kind = name
        for function in FUNCTIONS:
            kind = kind.removeprefix(function.capitalize())
        assert f"`…{kind}`" in handbook or f"`{name}`" in handbook, name


def test_the_dashboard_shows_metrics_that_there_are(stack: Stack) -> None:
    body = json.loads(stack.resources["Dashboard"].properties["DashboardBody"])
    namespaces = {metric[0] for widget in body["widgets"] for metric in widget["properties"]["metrics"]}
    assert namespaces == {"AWS/Lambda", "AWS/ApiGateway", "AWS/DynamoDB", "Deputize"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_logs_are_kept_for_a_while_and_not_for_ever(stack: Stack, name: str) -> None:
    log = stack.resources[f"{name.capitalize()}Log"].properties
    assert log == {"LogGroupName": f"/aws/lambda/${{AWS::StackName}}-{name}", "RetentionInDays": "30"}
    logging = stack.function(name).properties["LoggingConfig"]
    assert logging == {"LogGroup": f"${{{name.capitalize()}Log}}"}
