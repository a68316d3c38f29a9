"""The hourly work without a request: what was deleted and can be restored no more is erased."""

from __future__ import annotations

import json

import pytest
from deployed import Deployed, api_key
from harness.function import FUNCTIONS
from harness.gateway import SHAPES, Request, Shape, answer

# The input of the templates' rule.
ASKED = {"scheduled": "erase"}


def test_the_schedules_event_has_it_done_and_is_told(deployed: Deployed) -> None:
    function = deployed.function("admin")
    assert json.loads(function.invoke(ASKED).body()) == {"erased": 0, "unfinished": False}
    lines = [json.loads(line) for line in function.output.text().splitlines() if "restored no more" in line]
    told = lines[-1]
    assert (told["level"], told["erased"], told["failed"], told["unfinished"]) == ("INFO", 0, 0, False), told
    assert told["request_id"] and told["span"]["work"] == "erase", told


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_request_that_says_the_same_is_a_request(deployed: Deployed, shape: Shape) -> None:
    headers = api_key(deployed.demo.ALICE_API_KEY) | {"scheduled": "erase"}
    request = Request.json("/api/v1/policies/check", ASKED, headers)
    refused = answer(deployed.function("admin").invoke(shape(request)))
    assert (refused.status, refused.json()["error"]) == (400, "invalid_request"), refused.body


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "admin"])
def test_the_other_functions_do_not_know_that_event(deployed: Deployed, name: str) -> None:
    refused = answer(deployed.function(name).invoke(json.dumps(ASKED).encode()))
    assert (refused.status, refused.json()["error"]) == (400, "invalid_request"), refused.body
