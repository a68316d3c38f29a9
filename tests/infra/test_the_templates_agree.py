"""SAM and the CDK deploy the same stack: resource by resource, in every property."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from configurations import ALL
from templates import FUNCTIONS, REPOSITORY, Resource, Stack

Synthesis = tuple[dict[str, Any], Path]

# Differences in how each tool says the same thing, and no others.
_CREATED_BY_SAM = {"Key": "lambda:createdBy", "Value": "SAM"}
_ENDPOINT = "x-amazon-apigateway-endpoint-configuration"


def compared(resource: Resource) -> Resource:
    """The resource without values that only show which tool has made it."""
    properties = dict(resource.properties)
    match resource.type:
        case "AWS::Lambda::Function":
            # The address of the uploaded package, which `test_a_function_gets_its_own_package` checks.
            del properties["Code"]
            tags = [tag for tag in properties.pop("Tags", []) if tag != _CREATED_BY_SAM]
            assert tags == []
        case "AWS::ApiGateway::RestApi":
            # SAM has it in the definition, the CDK beside it.
            body = dict(properties["Body"])
            if (servers := body.pop("servers", None)) is not None:
                [server] = servers
                properties["DisableExecuteApiEndpoint"] = server[_ENDPOINT]["disableExecuteApiEndpoint"]
            properties["Body"] = body
            if types := properties.pop("Parameters", None):
                assert properties["EndpointConfiguration"]["Types"] == [types["endpointConfigurationTypes"]]
        case "AWS::ApiGateway::Deployment" | "AWS::Lambda::Version":
            # SAM makes a new version by it; the CDK does so by the version's name.
            properties.pop("Description", None)
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


def test_both_make_the_same_edge_for_another_region(edges: tuple[Stack, Stack]) -> None:
    ours, theirs = edges
    assert sorted(ours.resources) == sorted(theirs.resources)
    for name, resource in ours.resources.items():
        assert compared(resource) == compared(theirs.resources[name]), name
    assert ours.outputs == theirs.outputs


def test_the_edge_of_another_region_is_that_of_us_east_1(
    edges: tuple[Stack, Stack], sam: Callable[[str], Stack]
) -> None:
    inside = sam("everything").resources
    for name, resource in edges[0].resources.items():
        assert compared(resource) == compared(inside[name]), name


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


def test_the_edge_gets_the_one_function_that_there_is(
    edges: tuple[Stack, Stack], cdk_template: Callable[[str], Synthesis]
) -> None:
    _, synthesis = cdk_template("everything")
    ours, theirs = (edge.resources["EdgeFunction"].properties["Code"]["S3Key"] for edge in edges)
    assert ours == "edge.zip"
    uploaded = synthesis / f"asset.{theirs.removesuffix('.zip')}"
    [source] = (REPOSITORY / "infra" / "edge").iterdir()
    assert [(of.name, of.read_bytes()) for of in uploaded.iterdir()] == [(source.name, source.read_bytes())]


def test_a_difference_is_noticed(sam: Callable[[str], Stack]) -> None:
    """The comparison itself: it leaves out no property that matters."""
    stack = sam("default")
    for name, resource in stack.resources.items():
        for changed in resource.properties:
            if (resource.type, changed) in (
                ("AWS::Lambda::Function", "Code"),
                ("AWS::Lambda::Function", "Tags"),
                ("AWS::ApiGateway::RestApi", "Parameters"),
                ("AWS::ApiGateway::Deployment", "Description"),
                ("AWS::Lambda::Version", "Description"),
            ):
                continue
            less = {key: value for key, value in resource.properties.items() if key != changed}
            try:
                same = compared(Resource(resource.type, less, resource.deletion_policy)) == compared(resource)
            except KeyError:
                same = False
            assert not same, f"{name} without {changed}"
