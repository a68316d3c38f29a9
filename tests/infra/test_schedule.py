"""What was deleted is erased each hour, by the admin function, without a request."""

from __future__ import annotations

import json
import re

from templates import FUNCTIONS, REPOSITORY, Stack

MAIN = REPOSITORY / "functions" / "admin" / "src" / "main.rs"


def test_the_one_rule_invokes_the_admin_function_each_hour(stack: Stack) -> None:
    rules = [of.properties for of in stack.resources.values() if of.type == "AWS::Events::Rule"]
    [rule] = rules
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 hour)", "ENABLED")
    [target] = rule["Targets"]
    assert target.keys() == {"Id", "Arn", "Input"}
    assert target["Arn"] == "${AdminFunction.Arn}"


def test_the_event_is_the_one_that_the_function_knows(stack: Stack) -> None:
    """The rule's own event would have ids and a time, and be like those of other rules. This one is exact."""
    [target] = stack.resources["AdminSchedule"].properties["Targets"]
    [name] = re.findall(r'Scheduled::new\("(\w+)"', MAIN.read_text())
    assert json.loads(target["Input"]) == {"scheduled": name}


def test_a_rule_needs_no_role(stack: Stack) -> None:
    """Each role is a function's, or of the function at CloudFront's edge."""
    roles = {name for name, of in stack.resources.items() if of.type == "AWS::IAM::Role"}
    assert roles - {"EdgeRole"} == {f"{name.capitalize()}Role" for name in FUNCTIONS}


def test_its_failure_sets_off_an_alarm(stack: Stack) -> None:
    alarm = stack.resources["AdminErrors"].properties
    assert (alarm["MetricName"], alarm["Threshold"]) == ("Errors", "0")
    assert "erase" in alarm["AlarmDescription"]
