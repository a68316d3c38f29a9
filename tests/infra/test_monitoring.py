"""Each function is watched, and its logs are deleted some day."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from templates import FUNCTIONS, REPOSITORY, Stack


def alarms(stack: Stack) -> dict[str, dict]:
    return {name: of.properties for name, of in stack.resources.items() if of.type == "AWS::CloudWatch::Alarm"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_alarms_for_errors_throttles_and_latency(stack: Stack, name: str) -> None:
    function = f"${{{name.capitalize()}Function}}"
    of_it = [
        (alarm["Namespace"], alarm["MetricName"])
        for alarm in alarms(stack).values()
        if function in [dimension["Value"] for dimension in alarm.get("Dimensions", [])]
    ]
    # The proxy's duration would include its streams.
    slow = ("Deputize", "TimeToAnswer") if name == "proxy" else ("AWS/Lambda", "Duration")
    expected = [("AWS/Lambda", "Errors"), ("AWS/Lambda", "Throttles"), ("Deputize", "Denied"), slow]
    assert sorted(of_it) == sorted(expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_an_alarm_for_what_it_refuses(stack: Stack, name: str) -> None:
    """The metric's dimension has the function's own name, as functions/service sets it."""
    alarm = alarms(stack)[f"{name.capitalize()}Denied"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("Deputize", "Denied")
    assert alarm["Dimensions"] == [{"Name": "Function", "Value": f"${{{name.capitalize()}Function}}"}]


def test_each_index_has_an_alarm_for_writes_that_are_throttled(stack: Stack) -> None:
    """Amazon DynamoDB Developer Guide, "DynamoDB metrics and dimensions": a table's own metrics do not include its
    indexes."""
    indexes = {of["IndexName"] for of in stack.resources["Table"].properties["GlobalSecondaryIndexes"]}
    watched = [
        {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
        for alarm in alarms(stack).values()
        if alarm.get("MetricName") == "WriteThrottleEvents"
    ]
    assert [of["TableName"] for of in watched] == ["${Table}"] * len(watched)
    assert {of.get("GlobalSecondaryIndexName") for of in watched} == {None, *indexes}


def test_a_failing_mcp_server_sets_off_no_alarm_of_ours(stack: Stack) -> None:
    alarm = alarms(stack)["ApiErrors"]
    metrics = {of["Id"]: of for of in alarm["Metrics"]}
    [shown] = [of for of in alarm["Metrics"] if of.get("ReturnData") != "false"]
    assert shown["Expression"] == "all - FILL(calling, 0) - FILL(connecting, 0) - FILL(signing_in, 0)"
    for each, function in (("calling", "ProxyFunction"), ("connecting", "GrantsFunction"), ("signing_in", "ConsoleFunction")):
        metric = metrics[each]["MetricStat"]["Metric"]
        assert (metric["Namespace"], metric["MetricName"]) == ("Deputize", "UpstreamErrors")
        assert metric["Dimensions"] == [{"Name": "Function", "Value": f"${{{function}}}"}]


def test_the_costs_count_what_there_is(stack: Stack) -> None:
    assumed = json.loads((REPOSITORY / "infra" / "cost" / "assumptions.json").read_text())
    assert assumed["alarms"] == len(alarms(stack))
    assert assumed["metrics_of_alarms"] == sum(len(alarm.get("Metrics", [0])[-3:]) for alarm in alarms(stack).values())
    directive = (REPOSITORY / "functions/service/src/lambda/metrics.rs").read_text()
    assert assumed["metrics_of_a_route"] == int(re.search(r"metrics: \[Metric; (\d+)\]", directive)[1])


def test_alarms_tell_somebody_if_there_is_somebody_to_tell(
    sam: Callable[[str], Stack], cdk: Callable[[str], Stack]
) -> None:
    for load in (sam, cdk):
        assert all("AlarmActions" not in alarm for alarm in alarms(load("default")).values())
        for alarm in alarms(load("everything")).values():
            assert alarm["AlarmActions"] == alarm["OKActions"] == ["${AlarmTopic}"]


def test_each_alarm_is_in_the_handbook(stack: Stack) -> None:
    """An operator who is woken by an alarm can look it up."""
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
