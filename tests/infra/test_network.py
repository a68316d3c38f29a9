"""A network of one's own: which functions are in it, what their roles may do there, and what else is made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from configurations import EVERYTHING, IN_A_NETWORK_OF_ONES_OWN
from policies import Policy, Request
from templates import FUNCTIONS, SAM_TEMPLATE, Stack, cdk_synthesis, expanded_sam_template

# What AWSLambdaVPCAccessExecutionRole has beside logs (AWS Managed Policy Reference).
CONNECTING = (
    "AssignPrivateIpAddresses",
    "CreateNetworkInterface",
    "DeleteNetworkInterface",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "UnassignPrivateIpAddresses",
)
FUNCTION = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-"


@pytest.fixture(scope="session", params=["sam", "cdk"])
def load(request: pytest.FixtureRequest) -> Callable[[str], Stack]:
    return request.getfixturevalue(request.param)


def test_without_subnets_nothing_is_connected_and_no_role_may_connect(load: Callable[[str], Stack]) -> None:
    stack = load("default")
    assert {name for name in FUNCTIONS if "VpcConfig" in stack.function(name).properties} == set()
    assert {name for name in FUNCTIONS if "ec2:" in str(stack.statements(name))} == set()
    assert {of.type for of in stack.resources.values() if of.type.startswith("AWS::EC2::")} == set()


def test_all_functions_are_in_the_subnets_and_the_edges_is_not(load: Callable[[str], Stack]) -> None:
    """CloudFront Developer Guide, "Restrictions on Lambda@Edge": no VPC, no layers, no X-Ray."""
    stack = load("everything")
    for name in FUNCTIONS:
        assert stack.function(name).properties["VpcConfig"] == {
            "SubnetIds": EVERYTHING["SubnetIds"].split(","),
            "SecurityGroupIds": EVERYTHING["SecurityGroupIds"].split(","),
        }
    assert not {"VpcConfig", "Layers", "TracingConfig"} & stack.resources["EdgeFunction"].properties.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lambda_connects_a_function_and_its_own_code_does_not(load: Callable[[str], Stack], name: str) -> None:
    policy = Policy(load("in a network of one's own").statements(name))
    for action in CONNECTING:
        assert policy.allows(Request(f"ec2:{action}", "*"))
        by_its_code = {"lambda:SourceFunctionArn": (FUNCTION + name,)}
        assert not policy.allows(Request(f"ec2:{action}", "*", by_its_code))
    for action in ("RunInstances", "AuthorizeSecurityGroupIngress", "ModifyNetworkInterfaceAttribute"):
        assert not policy.allows(Request(f"ec2:{action}", "*"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_other_right_is_to_everything(load: Callable[[str], Stack], name: str) -> None:
    to_everything = [of for of in load("everything").statements(name) if "*" in str(of["Resource"])]
    assert [of["Sid"] for of in to_everything] == ["Connect", "ConnectNothingElse", "Trace"]
    actions = {of["Sid"]: sorted(of["Action"]) for of in to_everything}
    assert actions["Connect"] == actions["ConnectNothingElse"] == [f"ec2:{action}" for action in CONNECTING]
    assert actions["Trace"] == ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    assert "*" not in str(actions)


def test_endpoints_are_made_if_wanted_and_only_the_functions_reach_them(load: Callable[[str], Stack]) -> None:
    resources = load("everything").resources
    table, key = resources["TableEndpoint"].properties, resources["KeyEndpoint"].properties
    assert (table["VpcEndpointType"], key["VpcEndpointType"]) == ("Gateway", "Interface")
    assert table["ServiceName"].endswith(".dynamodb") and key["ServiceName"].endswith(".kms")
    assert table["RouteTableIds"] == EVERYTHING["RouteTableIds"].split(",")
    assert key["SubnetIds"] == EVERYTHING["SubnetIds"].split(",") and key["PrivateDnsEnabled"] == "true"
    [ingress] = resources["KeyEndpointSecurityGroup"].properties["SecurityGroupIngress"]
    assert ingress["SourceSecurityGroupId"] == EVERYTHING["SecurityGroupIds"].split(",")[0]
    assert (ingress["FromPort"], ingress["ToPort"], ingress.get("CidrIp")) == ("443", "443", None)
    existing = load("in a network of one's own").resources
    assert {of.type for of in existing.values() if of.type.startswith("AWS::EC2::")} == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_bundle_is_read_where_its_layer_puts_it_and_only_with_the_layer(
    load: Callable[[str], Stack], name: str
) -> None:
    without, having = (load(configuration).function(name).properties for configuration in ("default", "everything"))
    assert "Layers" not in without and without["Environment"]["Variables"]["DEPUTIZE_CA_BUNDLE"] == ""
    assert having["Layers"] == [EVERYTHING["CaBundleLayer"]]
    assert having["Environment"]["Variables"]["DEPUTIZE_CA_BUNDLE"] == "/opt/ca-bundle.pem"


# They connect to MCP servers, authorization servers and the providers by which people sign in.
CALL_OUT = ("grants", "proxy", "console")


def test_private_networks_are_open_to_the_functions_that_call_out_and_by_default_to_none(
    load: Callable[[str], Stack],
) -> None:
    for configuration, listed in (("default", ""), ("everything", EVERYTHING["PrivateUpstreams"])):
        stack = load(configuration)
        told = {name: stack.function(name).properties["Environment"]["Variables"] for name in FUNCTIONS}
        read = "DEPUTIZE_PRIVATE_UPSTREAMS"
        assert {name: of[read] for name, of in told.items() if read in of} == dict.fromkeys(CALL_OUT, listed)
        assert "DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS" not in str(told)


def test_the_access_log_has_no_query_no_header_and_no_body(load: Callable[[str], Stack]) -> None:
    assert "AccessLogSetting" not in load("default").resources["ApiStage"].properties
    setting = load("everything").resources["ApiStage"].properties["AccessLogSetting"]
    assert setting["DestinationArn"] == "${GatewayLog.Arn}"
    logged = json.loads(setting["Format"])
    assert set(logged.values()) == {
        f"$context.{variable}"
        for variable in (
            "requestId",
            "awsEndpointRequestId",
            "xrayTraceId",
            "requestTime",
            "identity.sourceIp",
            "httpMethod",
            "resourcePath",
            "status",
            "responseLength",
            "responseLatency",
            "error.responseType",
            "wafResponseCode",
        )
    }


def test_traces_are_taken_at_the_gateway_and_in_the_functions_if_wanted(load: Callable[[str], Stack]) -> None:
    for configuration, stage, mode in (("default", "false", "PassThrough"), ("everything", "true", "Active")):
        stack = load(configuration)
        assert stack.resources["ApiStage"].properties["TracingEnabled"] == stage
        assert {stack.function(name).properties["TracingConfig"]["Mode"] for name in FUNCTIONS} == {mode}
        assert {"xray:" in str(stack.statements(name)) for name in FUNCTIONS} == {stage == "true"}


def encrypted_under(stack: Stack) -> set[str | None]:
    """The keys of all logs, and of the topic."""
    logs = [of.properties.get("KmsKeyId") for of in stack.resources.values() if of.type == "AWS::Logs::LogGroup"]
    topics = [of.properties.get("KmsMasterKeyId") for of in stack.resources.values() if of.type == "AWS::SNS::Topic"]
    return {*logs, *topics}


def test_logs_and_alarms_are_encrypted_under_the_key_that_is_given(load: Callable[[str], Stack]) -> None:
    assert encrypted_under(load("default")) == {None}
    assert "LogKey" not in load("in a network of one's own").resources
    assert encrypted_under(load("in a network of one's own")) == {IN_A_NETWORK_OF_ONES_OWN["LogsKey"]}
    assert encrypted_under(load("everything")) == {"${LogKey.Arn}"}


def test_a_key_of_the_stacks_own_is_for_its_logs_and_alarms_and_stays(load: Callable[[str], Stack]) -> None:
    stack = load("everything")
    key = stack.resources["LogKey"]
    assert (key.deletion_policy, key.properties["EnableKeyRotation"]) == ("Retain", "true")
    _, logs, alarms = key.properties["KeyPolicy"]["Statement"]
    assert logs["Principal"] == {"Service": f"logs.{EVERYTHING['AWS::Region']}.${{AWS::URLSuffix}}"}
    patterns = logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    names = [of.properties["LogGroupName"] for of in stack.resources.values() if of.type == "AWS::Logs::LogGroup"]
    for name in names:
        arn = f"arn:${{AWS::Partition}}:logs:{EVERYTHING['AWS::Region']}:${{AWS::AccountId}}:log-group:{name}"
        assert any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), arn) for pattern in patterns), name
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert alarms["Condition"] == {"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}}


# Parameters that do not fit together, and what is said of them.
UNFIT = {
    "subnets without a group": ({"SubnetIds": "subnet-1"}, "needed together"),
    "a group without subnets": ({"SecurityGroupIds": "sg-1"}, "needed together"),
    "an endpoint without a VPC": (
        {"SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1", "KmsEndpoint": "true"},
        "needed with",
    ),
    "an endpoint without subnets": ({"VpcId": "vpc-1", "RouteTableIds": "rtb-1"}, "needed with"),
}
IN_VIRGINIA = {"AWS::Region": "us-east-1"}


def broken_rules(parameters: Mapping[str, str]) -> list[str]:
    """What CloudFormation says of parameters, by the template's rules."""
    template = expanded_sam_template({}, SAM_TEMPLATE)
    stack = Stack(template, IN_VIRGINIA | parameters, {})
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if stack._holds(rule.get("RuleCondition"))
        for assertion in rule["Assertions"]
        if not stack._holds(assertion["Assert"])
    ]


def test_the_configurations_break_no_rule() -> None:
    for parameters in ({}, EVERYTHING, IN_A_NETWORK_OF_ONES_OWN):
        assert broken_rules(parameters) == []


@pytest.mark.parametrize("unfit", UNFIT)
def test_parameters_that_do_not_fit_together_are_refused_by_a_rule(unfit: str) -> None:
    parameters, said = UNFIT[unfit]
    [broken] = broken_rules(parameters)
    assert said in broken


@pytest.mark.parametrize("unfit", ["subnets without a group", "an endpoint without a VPC"])
def test_parameters_that_do_not_fit_together_are_refused_by_the_app(unfit: str, packages: Path, tmp_path: Path) -> None:
    parameters, said = UNFIT[unfit]
    with pytest.raises(AssertionError, match=said):
        cdk_synthesis(parameters, packages, tmp_path)


def test_the_switch_that_opened_every_private_network_is_refused_with_what_to_write_instead(
    packages: Path, tmp_path: Path
) -> None:
    """CloudFormation refuses a parameter that a template does not have."""
    template: dict[str, Any] = expanded_sam_template({}, SAM_TEMPLATE)
    assert "AllowPrivateUpstreams" not in template["Parameters"]
    with pytest.raises(AssertionError, match="privateUpstreams=10.20.0.0/16,.corp.example"):
        cdk_synthesis({"AllowPrivateUpstreams": "true"}, packages, tmp_path)
