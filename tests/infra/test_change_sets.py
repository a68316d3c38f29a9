"""What CloudFormation would do if a parameter of an existing stack changes: what is made, what is replaced, and
whether the gateway and the aliases then lead to the right things.

A deployment of an API is a copy of it: a change of the API takes effect with the next deployment. A version of a
function is a copy too, and cannot be made while the function is unchanged. Both are made again under another
logical id, or replaced when a property changes that cannot be updated.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from templates import SAM_TEMPLATE, TOOLS, Resource, Stack, _given, cdk_synthesis, expanded_sam_template

IN_VIRGINIA = {"AWS::Region": "us-east-1"}
PROVISIONED = {"ProvisionedConcurrency": "3"}
DOMAIN = {
    "DomainName": "deputize.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
}
AT_THE_GATEWAY = {"CloudFront": "false"}
EDGE = "arn:aws:lambda:us-east-1:123456789012:function:deputize-edge-EdgeFunction-000000000000:1"

NETWORK = {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}
ENDPOINTS = {"VpcId": "vpc-1", "RouteTableIds": "rtb-1,rtb-2", "KmsEndpoint": "true"}
LAYER = "arn:aws:lambda:eu-central-1:123456789012:layer:ca-bundle:1"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
ALARMS = {"AlarmEmail": "ops@example.com", "AccessLog": "true"}

# Each condition of the templates, switched from one side to the other, on an existing stack.
SWITCHES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "provisioned environments": ({}, PROVISIONED),
    "a domain at CloudFront": ({}, DOMAIN),
    "a domain at the gateway": (AT_THE_GATEWAY, AT_THE_GATEWAY | DOMAIN),
    "a hosted zone": (DOMAIN, DOMAIN | {"HostedZoneId": "Z0000000000000000000"}),
    "no CloudFront any more": ({}, AT_THE_GATEWAY),
    "CloudFront": (AT_THE_GATEWAY, {}),
    "CloudFront, with a web ACL": (IN_VIRGINIA | AT_THE_GATEWAY | {"WafRateLimit": "2000"}, IN_VIRGINIA | {"WafRateLimit": "2000"}),
    "an edge function elsewhere": ({}, {"EdgeFunctionArn": EDGE}),
    "a web ACL": (IN_VIRGINIA, IN_VIRGINIA | {"WafRateLimit": "2000"}),
    "a web ACL elsewhere": ({}, {"WebAclArn": "arn:aws:wafv2:us-east-1:123456789012:global/webacl/deputize/0"}),
    "a web ACL at the gateway": (AT_THE_GATEWAY, AT_THE_GATEWAY | {"WafRateLimit": "2000"}),
    "a host of one's own": ({}, {"PublicUrl": "https://agents.example.com/deputize"}),
    "somebody who is told of alarms": (PROVISIONED, PROVISIONED | {"AlarmEmail": "ops@example.com"}),
    "reserved concurrency": ({}, {"ReservedConcurrency": "10"}),
    "no reserved concurrency of the proxy": ({}, {"ProxyConcurrency": "0"}),
    "no protection from deletion": ({}, {"DeletionProtection": "false"}),
    "subnets": (PROVISIONED, PROVISIONED | NETWORK | {"Release": "2"}),
    "no subnets any more": (NETWORK, {}),
    "endpoints": (NETWORK, NETWORK | ENDPOINTS),
    "endpoints in another VPC": (NETWORK | ENDPOINTS, NETWORK | ENDPOINTS | {"VpcId": "vpc-2"}),
    "authorities of one's own": (PROVISIONED, PROVISIONED | {"CaBundleLayer": LAYER, "Release": "2"}),
    "an access log": ({}, {"AccessLog": "true"}),
    "traces": (PROVISIONED, PROVISIONED | {"Tracing": "true"}),
    "a key for logs": (ALARMS, ALARMS | {"LogsKey": "create"}),
    "another key for logs": (ALARMS | {"LogsKey": "create"}, ALARMS | {"LogsKey": KEY}),
    "no key for logs any more": (ALARMS | {"LogsKey": KEY}, ALARMS),
}

# The switches for which both tools are run. A synthesis by the CDK takes seconds.
OF_BOTH_TOOLS = (
    "provisioned environments",
    "a domain at the gateway",
    "CloudFront, with a web ACL",
    "somebody who is told of alarms",
    "subnets",
    "a key for logs",
)

@dataclass(frozen=True)
class Deployed:
    """A stack: its resources under names that are the same in every deployment, and their logical ids."""

    resources: dict[str, Resource]
    ids: dict[str, str]


@dataclass(frozen=True)
class ChangeSet:
    added: set[str]
    removed: set[str]
    changed: set[str]
    """Deleted once another is in its place."""
    replaced: set[str]


def _stable(name: str) -> str:
    """A logical id without the part that changes when the resource is made again."""
    name = re.sub("(ApiDeployment|FunctionVersion)[0-9a-f]+$", r"\1", name)
    # The CDK: the construct's path, eight digits of its hash, and, for resources that are made again, a hash
    # of their content.
    return re.sub("^Deputize|[0-9A-F]{8}([0-9a-f]{32})?$", "", name)


def _deployed(template: dict[str, Any], parameters: Mapping[str, str]) -> Deployed:
    template = template | {"Resources": {name: of for name, of in template["Resources"].items() if "CDK" not in of["Type"]}}
    stack = Stack(template, parameters, {})
    return Deployed(
        {_stable(name): of for name, of in stack.resources.items()}, {_stable(name): name for name in stack.resources}
    )


@cache
def _create_only(kinds: tuple[str, ...]) -> dict[str, list[str]]:
    asked = [TOOLS / "python", Path(__file__).parent / "create_only.py"]
    answered = subprocess.run(asked, input=json.dumps(kinds), capture_output=True, text=True, check=True)
    return json.loads(answered.stdout)


def change_set(before: Deployed, after: Deployed) -> ChangeSet:
    both = before.resources.keys() & after.resources.keys()
    kinds = tuple(sorted({of.type for of in after.resources.values()}))
    changed, replaced = set(), set()
    for name in both:
        old, new = before.resources[name].properties, after.resources[name].properties
        different = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        if before.ids[name] != after.ids[name] or different & set(_create_only(kinds)[after.resources[name].type]):
            replaced.add(name)
        elif different:
            changed.add(name)
    return ChangeSet(
        after.resources.keys() - both, before.resources.keys() - both, changed, replaced
    )


@pytest.fixture(scope="module")
def sam_deployed() -> Callable[[Mapping[str, str], int], Deployed]:
    """As SAM deploys it, at a time. SAM's output for a template does not depend on parameters. So SAM does not notice
    that a parameter has changed, which `test_sam_does_not_look_at_parameters` checks."""
    expanded = cache(lambda at: expanded_sam_template({}, SAM_TEMPLATE, at=at))

    def deployed(parameters: Mapping[str, str], at: int) -> Deployed:
        return _deployed(expanded(at), parameters)

    return deployed


def test_sam_does_not_look_at_parameters() -> None:
    """Neither the ids of deployments nor those of versions depend on them. So SAM's own mechanisms are not enough."""
    assert expanded_sam_template(PROVISIONED | DOMAIN) == expanded_sam_template({})


@pytest.fixture(scope="module")
def cdk_deployed(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, str], int], Deployed]:
    @cache
    def synthesized(parameters: tuple[tuple[str, str], ...]) -> dict[str, Any]:
        return cdk_synthesis(dict(parameters), packages, tmp_path_factory.mktemp("cdk"))

    def deployed(parameters: Mapping[str, str], at: int) -> Deployed:  # noqa: ARG001  (its deployments know no time)
        pseudo = {name: value for name, value in parameters.items() if name not in _given(parameters)}
        return _deployed(synthesized(tuple(sorted(_given(parameters).items()))), pseudo)

    return deployed


def switched(request: pytest.FixtureRequest, tool: str, switch: str) -> tuple[ChangeSet, Deployed, Deployed]:
    deployed = request.getfixturevalue(f"{tool}_deployed")
    before, after = (deployed(parameters, at) for at, parameters in enumerate(SWITCHES[switch], start=1))
    return change_set(before, after), before, after


BY_SAM = [("sam", switch) for switch in SWITCHES]
BY_BOTH = [*BY_SAM, *(("cdk", switch) for switch in OF_BOTH_TOOLS)]


@pytest.mark.parametrize(("tool", "switch"), BY_BOTH)
def test_what_the_api_says_is_in_force(request: pytest.FixtureRequest, tool: str, switch: str) -> None:
    """Otherwise the stage goes on with the old function, or with the old host open."""
    changes, before, after = switched(request, tool, switch)
    if "Api" in changes.changed:
        assert "ApiDeployment" in changes.replaced
    assert "Api" not in changes.replaced
    ids = {of for name, of in after.ids.items() if name == "ApiDeployment"}
    stages = [of.properties["DeploymentId"] for of in after.resources.values() if of.type == "AWS::ApiGateway::Stage"]
    assert stages == [f"${{{of}}}" for of in ids]
    assert before.ids.keys() & {"Table", "VaultKey"} == {"Table", "VaultKey"}


@pytest.mark.parametrize(("tool", "switch"), BY_BOTH)
def test_nothing_that_is_kept_or_called_is_replaced(request: pytest.FixtureRequest, tool: str, switch: str) -> None:
    changes, before, _ = switched(request, tool, switch)
    kept = {
        name
        for name, of in before.resources.items()
        if of.type in ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Lambda::Function", "AWS::Lambda::Permission")
        or of.type in ("AWS::Logs::LogGroup", "AWS::IAM::Role", "AWS::ApiGateway::Stage", "AWS::CloudFront::Distribution")
    }
    assert changes.replaced & kept == set()
    # During the switch, the gateway invokes both.
    assert {name for name in changes.removed if name.endswith("FunctionPermission") or "AliasPermission" in name} == set()


# What is replaced. New deployments and versions can always be made, and nothing else here has a state.
REPLACED = {
    "no CloudFront any more": {"ApiDeployment"},
    "CloudFront, with a web ACL": {"ApiDeployment", "WebAcl"},
    "provisioned environments": {"ApiDeployment"},
    "a domain at the gateway": {"ApiDeployment"},
    "somebody who is told of alarms": set(),
    "subnets": {"TokenVersion", "ProxyVersion"},
    "no subnets any more": set(),
    "endpoints": set(),
    # Nothing is in them. New ones are made before the old ones go.
    "endpoints in another VPC": {"TableEndpoint", "KeyEndpoint", "KeyEndpointSecurityGroup"},
    "authorities of one's own": {"TokenVersion", "ProxyVersion"},
    "an access log": set(),
    "traces": {"TokenVersion", "ProxyVersion"},
    "a key for logs": set(),
    "another key for logs": set(),
    "no key for logs any more": set(),
}


@pytest.mark.parametrize(("tool", "switch"), [(tool, switch) for tool, switch in BY_BOTH if switch in REPLACED])
def test_what_is_replaced_is_what_has_no_state(request: pytest.FixtureRequest, tool: str, switch: str) -> None:
    changes, _, _ = switched(request, tool, switch)
    # SAM makes a deployment each time.
    always = {"ApiDeployment"} if tool == "sam" else set()
    replaced = {name.replace("FunctionCurrentVersion", "Version") for name in changes.replaced}
    assert replaced - always == REPLACED[switch] - always


# Each parameter that a function uses, and another value.
OTHERWISE = {
    "Architecture": "x86_64",
    "TrustedIssuers": '[{"issuer":"https://login.example.com","audiences":["deputize"]}]',
    "AllowedOrigins": "https://app.example.com",
    "RetentionDays": "audit=30",
    "Apps": "none",
    "AppHosts": "claude.ai",
    "AppSchemes": "myapp",
    "RefreshGrace": "0",
    "ClaimsMaxAgeDays": "7",
    "AgentsWithoutOwner": "stop",
    "AuditLog": "ocsf",
    "AuditStreamArn": "arn:aws:firehose:eu-central-1:123456789012:deliverystream/audit",
    "PrivateUpstreams": "10.20.0.0/16,.corp.example",
    "SubnetIds": NETWORK["SubnetIds"],
    "SecurityGroupIds": NETWORK["SecurityGroupIds"],
    "CaBundleLayer": LAYER,
    "Tracing": "true",
    "CloudFront": "false",
    "DomainName": "deputize.example.com",
    "PublicUrl": "https://agents.example.com/deputize",
    "LogLevel": "debug",
    "MemorySize": "1024",
    "SessionStreams": "off",
    "Release": "2026-11",
    # Parameters that no function uses.
    "AlarmEmail": "ops@example.com",
    "DeniedThreshold": "7",
    "LogRetentionDays": "90",
    "ThrottlingRate": "50",
    "ThrottlingBurst": "20",
    "ReservedConcurrency": "10",
    "ProxyConcurrency": "20",
    "DeletionProtection": "false",
    "SharedGrants": "managers",
    "BrowserSessionMinutes": "idle=15,total=480",
    "MaxApiKeyDays": "90",
    "EdgeFunctionArn": EDGE,
    "VpcId": "vpc-1",
    "RouteTableIds": "rtb-1",
    "KmsEndpoint": "true",
    "AccessLog": "true",
    "LogsKey": "create",
}
# Longer than a version's description. SAM's template requires another Release with them, and says so.
WITH_A_RELEASE = (
    "TrustedIssuers",
    "AllowedOrigins",
    "RetentionDays",
    "Apps",
    "AppHosts",
    "AppSchemes",
    "RefreshGrace",
    "ClaimsMaxAgeDays",
    "AgentsWithoutOwner",
    "AuditLog",
    "AuditStreamArn",
    "PrivateUpstreams",
    "SubnetIds",
    "SecurityGroupIds",
    "CaBundleLayer",
)


# Properties of a function that are not part of its versions.
NOT_IN_A_VERSION = {"ReservedConcurrentExecutions", "Tags", "LoggingConfig"}


@pytest.mark.parametrize("parameter", OTHERWISE)
@pytest.mark.parametrize("name", ["Token", "Proxy"])
def test_a_version_is_made_when_its_function_changes_and_only_then(
    sam_deployed: Callable[[Mapping[str, str], int], Deployed], name: str, parameter: str
) -> None:
    """Without a new version, the alias leads to the old one. And Lambda refuses to make a version of an unchanged
    function (AWS Lambda Developer Guide, "Manage Lambda function versions"), which would roll the whole update
    back."""
    more = {"CertificateArn": DOMAIN["CertificateArn"]} if parameter == "DomainName" else {}
    more |= {"Release": "2"} if parameter in WITH_A_RELEASE else {}
    before = sam_deployed(PROVISIONED, 1)
    after = sam_deployed(PROVISIONED | {parameter: OTHERWISE[parameter]} | more, 2)
    function, version = f"{name}Function", f"{name}Version"
    old, new = before.resources[function].properties, after.resources[function].properties
    is_changed = any(old.get(key) != new.get(key) for key in (old.keys() | new.keys()) - NOT_IN_A_VERSION)
    assert (version in change_set(before, after).replaced) == is_changed


@pytest.mark.parametrize("parameter", ["AlarmEmail", "LogLevel", "AllowedOrigins"])
def test_the_cdk_makes_a_version_when_its_function_changes_and_only_then(
    cdk_deployed: Callable[[Mapping[str, str], int], Deployed], parameter: str
) -> None:
    changes = change_set(
        cdk_deployed(PROVISIONED, 1), cdk_deployed(PROVISIONED | {parameter: OTHERWISE[parameter]}, 2)
    )
    is_changed = "TokenFunction" in changes.changed
    assert is_changed == (parameter != "AlarmEmail")
    assert {"TokenFunctionCurrentVersion", "ProxyFunctionCurrentVersion"} & changes.replaced == (
        {"TokenFunctionCurrentVersion", "ProxyFunctionCurrentVersion"} if is_changed else set()
    )


def test_a_versions_description_holds_whatever_may_be_in_it() -> None:
    """256 characters (AWS Lambda API Reference, "PublishVersion")."""
    template = expanded_sam_template({})
    for name in ("Token", "Proxy"):
        description = template["Resources"][f"{name}Version"]["Properties"]["Description"]["Fn::Sub"]
        named = re.findall(r"\$\{(\w+)\}", description)
        longest = {"MemorySize": 5, "SessionStreams": 3}
        for parameter in named:
            of = template["Parameters"][parameter]
            if parameter not in longest:
                longest[parameter] = of.get("MaxLength") or max(map(len, of["AllowedValues"]))
        assert sum(longest[parameter] for parameter in named) + len(named) - 1 <= 256


LISTS = (
    "TrustedIssuers",
    "AllowedOrigins",
    "PublicUrl",
    "PrivateUpstreams",
    "Apps",
    "AppHosts",
    "AppSchemes",
    "BrowserSessionMinutes",
)


def test_an_environment_holds_whatever_may_be_in_it() -> None:
    """4 KB, names and all (AWS Lambda Developer Guide, "Lambda quotas")."""
    bounds = {name: of.get("MaxLength") for name, of in expanded_sam_template({})["Parameters"].items()}
    parameters = {name: "x" * bounds[name] for name in LISTS}
    stack = Stack(expanded_sam_template(parameters), parameters, {})
    for name in ("Token", "Delegations", "Grants", "Proxy", "Admin", "Console"):
        variables = stack.resources[f"{name}Function"].properties["Environment"]["Variables"]
        # Values that are still names here have at most the length of a key's ARN, or of a table's name.
        lengths = [len(key) + len(re.sub(r"\$\{.*?\}", "x" * 120, value)) for key, value in variables.items()]
        assert sum(lengths) <= 4096
