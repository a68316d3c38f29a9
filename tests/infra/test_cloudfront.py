"""CloudFront in front: its address is the service's, it passes everything on, and it caches nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from configurations import EVERYTHING, WITH_THE_EDGE_OF_ANOTHER_STACK
from templates import FUNCTIONS, REPOSITORY, Stack

EDGE = REPOSITORY / "infra" / "edge" / "index.mjs"
# CloudFront Developer Guide, "Use managed cache policies" and "Use managed origin request policies".
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"


def distribution(stack: Stack) -> dict[str, Any]:
    return stack.resources["Distribution"].properties["DistributionConfig"]


def through_the_edge(response: dict[str, Any]) -> dict[str, Any]:
    """The edge function's result for an answer of the gateway, in Node."""
    node = shutil.which("node")
    assert node
    script = (
        f"import {{ handler }} from {json.dumps(str(EDGE))};"
        "const event = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(await handler(event)));"
    )
    event = {"Records": [{"cf": {"config": {"eventType": "origin-response"}, "request": {}, "response": response}}]}
    made = subprocess.run(
        [node, "--input-type=module", "--eval", script, "--", json.dumps(event)], capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout)


def test_the_service_says_the_address_that_is_in_front(stack: Stack) -> None:
    """At its root: no MCP client looks for metadata below a stage."""
    for name in FUNCTIONS:
        variables = stack.function(name).properties["Environment"]["Variables"]
        assert variables["DEPUTIZE_URL"] == stack.outputs["Url"] == "https://${Distribution.DomainName}"
        assert variables["DEPUTIZE_CALLER_ADDRESS"] == "cloudfront"
    [origin] = distribution(stack)["Origins"]
    assert origin["OriginPath"] == "/live"


def test_it_keeps_nothing_and_hands_on_all_but_the_host(stack: Stack) -> None:
    behavior = distribution(stack)["DefaultCacheBehavior"]
    assert behavior["CachePolicyId"] == CACHING_DISABLED
    assert behavior["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
    assert sorted(behavior["AllowedMethods"]) == ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    assert behavior["ViewerProtocolPolicy"] == "https-only"
    assert "CacheBehaviors" not in distribution(stack)


def test_it_waits_as_long_as_it_can(stack: Stack) -> None:
    """Two minutes is also the longest call of Deputize to an MCP server."""
    [origin] = distribution(stack)["Origins"]
    assert origin["CustomOriginConfig"]["OriginReadTimeout"] == "120"


@pytest.mark.parametrize("tool", ["sam", "cdk"])
def test_its_function_and_web_acl_are_where_cloudfront_takes_them_from(
    request: pytest.FixtureRequest, tool: str
) -> None:
    load: Callable[[str], Stack] = request.getfixturevalue(tool)
    # In another region without the other stack: the address works, without the header.
    alone = distribution(load("default"))
    assert "LambdaFunctionAssociations" not in alone["DefaultCacheBehavior"]
    assert "EdgeFunction" not in load("default").resources
    assert "WebACLId" not in alone
    elsewhere = distribution(load("with the edge of another stack"))
    [runs] = elsewhere["DefaultCacheBehavior"]["LambdaFunctionAssociations"]
    arn = WITH_THE_EDGE_OF_ANOTHER_STACK["EdgeFunctionArn"]
    assert runs == {"EventType": "origin-response", "LambdaFunctionARN": arn}
    assert elsewhere["WebACLId"] == WITH_THE_EDGE_OF_ANOTHER_STACK["WebAclArn"]
    here = load("everything")
    [runs] = distribution(here)["DefaultCacheBehavior"]["LambdaFunctionAssociations"]
    assert runs == {"EventType": "origin-response", "LambdaFunctionARN": "${EdgeFunctionVersion}"}
    assert distribution(here)["WebACLId"] == "${WebAcl.Arn}"
    assert here.resources["WebAcl"].properties["Scope"] == "CLOUDFRONT"
    assert "WebAclAssociation" not in here.resources
    without = load("without CloudFront")
    assert without.resources["WebAcl"].properties["Scope"] == "REGIONAL"
    assert "WebAclAssociation" in without.resources


@pytest.mark.parametrize("tool", ["sam", "cdk"])
def test_a_domain_is_cloudfronts_and_the_gateways_own_address_stays_open_to_it(
    request: pytest.FixtureRequest, tool: str
) -> None:
    load: Callable[[str], Stack] = request.getfixturevalue(tool)
    stack = load("everything")
    assert distribution(stack)["Aliases"] == [EVERYTHING["DomainName"]]
    assert distribution(stack)["ViewerCertificate"]["AcmCertificateArn"] == EVERYTHING["CertificateArn"]
    assert stack.outputs["DomainTarget"] == "${Distribution.DomainName}"
    assert "Domain" not in stack.resources
    assert "disableExecuteApiEndpoint': 'true" not in str(stack.resources["Api"].properties)
    assert load("without CloudFront").outputs["DomainTarget"] == "${Domain.RegionalDomainName}"


@pytest.mark.parametrize("tool", ["sam", "cdk"])
def test_the_edge_function_may_do_nothing_and_keeps_to_what_an_edge_function_may_be(
    request: pytest.FixtureRequest, tool: str
) -> None:
    """CloudFront Developer Guide, "Restrictions on Lambda@Edge": no environment, x86_64, a numbered version."""
    resources = request.getfixturevalue(tool)("everything").resources
    assert resources["EdgeRole"].properties.keys() == {"AssumeRolePolicyDocument"}
    function = resources["EdgeFunction"].properties
    assert not {"Environment", "Architectures", "ReservedConcurrentExecutions", "VpcConfig", "Layers"} & function.keys()
    assert int(function["Timeout"]) <= 30
    # Lambda cannot delete a function with replicas, and that would fail the deletion of the whole stack.
    assert resources["EdgeFunction"].deletion_policy == "Retain"
    assert resources["EdgeFunctionVersion"].deletion_policy == "Retain"


def test_the_header_gets_its_name_back() -> None:
    renamed = {
        "status": "401",
        "statusDescription": "Unauthorized",
        "headers": {
            "content-type": [{"key": "Content-Type", "value": "application/json"}],
            "x-amzn-remapped-www-authenticate": [
                {"key": "x-amzn-Remapped-WWW-Authenticate", "value": 'Bearer resource_metadata="https://a.example"'},
                {"key": "x-amzn-Remapped-WWW-Authenticate", "value": "Basic"},
            ],
        },
    }
    assert through_the_edge(renamed) == {
        "status": "401",
        "statusDescription": "Unauthorized",
        "headers": {
            "content-type": [{"key": "Content-Type", "value": "application/json"}],
            "www-authenticate": [
                {"key": "WWW-Authenticate", "value": 'Bearer resource_metadata="https://a.example"'},
                {"key": "WWW-Authenticate", "value": "Basic"},
            ],
        },
    }


def test_any_other_answer_passes_as_it_is() -> None:
    plain = {"status": "200", "headers": {"via": [{"key": "Via", "value": "1.1 edge"}]}}
    assert through_the_edge(plain) == plain
