"""Whoever deploys with SAM gets the same stack as whoever deploys with the CDK: resource by resource, in every property."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from configurations import ALL
from templates import FUNCTIONS, Resource, Stack

Synthesis = tuple[dict[str, Any], Path]

# How each tool says the same thing, and nothing else.
_CREATED_BY_SAM = {"Key": "lambda:createdBy", "Value": "SAM"}
_ENDPOINT = "x-amazon-apigateway-endpoint-configuration"


def compared(resource: Resource) -> Resource:
    """The resource without what only says which tool has made it."""
    properties = dict(resource.properties)
    match resource.type:
        case "AWS::Lambda::Function":
            # Where the package has been uploaded to; `test_a_function_gets_its_own_package` looks at that.
            del properties["Code"]
            tags = [tag for tag in properties.pop("Tags", []) if tag != _CREATED_BY_SAM]
            assert tags == []
        case "AWS::ApiGateway::RestApi":
            # SAM says it in the definition, the CDK beside it.
            body = dict(properties["Body"])
            if (servers := body.pop("servers", None)) is not None:
                [server] = servers
                properties["DisableExecuteApiEndpoint"] = server[_ENDPOINT]["disableExecuteApiEndpoint"]
            properties["Body"] = body
            if types := properties.pop("Parameters", None):
                assert properties["EndpointConfiguration"]["Types"] == [types["endpointConfigurationTypes"]]
        case "AWS::ApiGateway::Deployment":
            del properties["Description"]
        case "AWS::CloudWatch::Dashboard":
            properties["DashboardBody"] = json.loads(properties["DashboardBody"])
    return Resource(resource.type, properties, resource.deletion_policy)


@pytest.mark.parametrize("configuration", ALL)
def test_both_templates_make_the_same_resources(
    configuration: str, sam: Callable[[str], Stack], cdk: Callable[[str], Stack]
) -> None:
    ours, theirs = sam(configuration).resources, cdk(configuration).resources
    assert sorted(ours) == sorted(theirs)
    different = {
        name: (compared(ours[name]), compared(theirs[name]))
        for name in ours
        if compared(ours[name]) != compared(theirs[name])
    }
    assert different == {}


@pytest.mark.parametrize("configuration", ALL)
def test_both_templates_have_the_same_outputs(
    configuration: str, sam: Callable[[str], Stack], cdk: Callable[[str], Stack]
) -> None:
    assert sam(configuration).outputs == cdk(configuration).outputs


def test_a_function_gets_its_own_package(
    sam: Callable[[str], Stack],
    cdk: Callable[[str], Stack],
    cdk_template: Callable[[str], Synthesis],
    packages: Path,
) -> None:
    _, synthesis = cdk_template("default")
    for name in FUNCTIONS:
        assert sam("default").function(name).properties["Code"]["S3Key"] == f"deputize-{name}/bootstrap.zip"
        uploaded = synthesis / f"asset.{cdk('default').function(name).properties['Code']['S3Key']}"
        assert uploaded.read_bytes() == (packages / f"deputize-{name}" / "bootstrap.zip").read_bytes()


def test_a_difference_is_noticed(sam: Callable[[str], Stack]) -> None:
    """The comparison itself: what it leaves out is no property that matters."""
    stack = sam("default")
    for name, resource in stack.resources.items():
        for changed in resource.properties:
            if (resource.type, changed) in (
                ("AWS::Lambda::Function", "Code"),
                ("AWS::Lambda::Function", "Tags"),
                ("AWS::ApiGateway::RestApi", "Parameters"),
                ("AWS::ApiGateway::Deployment", "Description"),
            ):
                continue
            less = {key: value for key, value in resource.properties.items() if key != changed}
            try:
                same = compared(Resource(resource.type, less, resource.deletion_policy)) == compared(resource)
            except KeyError:
                same = False
            assert not same, f"{name} without {changed}"
