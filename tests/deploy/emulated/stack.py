"""The stack, from the template to the first admin."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore.exceptions
from emulated.adaptation import adapted
from emulated.cloudfront import CloudFront
from emulated.emulator import REGION, Emulator, credentials
from emulated.gateway import Executions, Gateway
from emulated.guard import Guard, Resources
from harness.function import Function
from harness.server import binary
from policies import Policy
from templates import FUNCTIONS, REPOSITORY, Stack, cdk_stack, cdk_synthesis, expanded_sam_template, sam_stack

NAME = "deputize"
ADMIN = "alice@example.com"
# The template that is deployed: `sam`, or `cdk`.
TEMPLATE = os.environ.get("DEPUTIZE_TEMPLATE", "sam")
# The output of a stack of infra/sam/edge.yaml in another region.
EDGE = {"EdgeFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:deputize-edge-EdgeFunction-000000000000:1"}
# The folder into which `infra/build` puts the packages.
PACKAGES = Path(os.environ.get("DEPUTIZE_PACKAGES", REPOSITORY / "target" / "lambda"))


@dataclass
class DeployedStack:
    emulator: Emulator
    synthesized: Stack
    outputs: dict[str, str]
    guards: dict[str, Guard]
    gateway: Gateway
    cloudfront: CloudFront
    url: str
    always: Mapping[str, str]

    @classmethod
    def create(
        cls, emulator: Emulator, parameters: Mapping[str, str], always: Mapping[str, str], folder: Path
    ) -> DeployedStack:
        """`always` are variables of every function that the template does not set so."""
        parameters = {"Architecture": "x86_64", **EDGE, **parameters}
        if TEMPLATE == "cdk":
            made, synthesized = _by_the_cdk(emulator, parameters, folder)
            parameters = {}
        else:
            _upload_packages(emulator)
            made, synthesized = expanded_sam_template(parameters), sam_stack(parameters)
        template = json.dumps(adapted(made))
        # Too long for a request, so it goes to a bucket, as with `sam deploy`.
        emulator.client("s3").put_object(Bucket="packages", Key="template.json", Body=template.encode())
        cloudformation = emulator.client("cloudformation")
        cloudformation.create_stack(
            StackName=NAME,
            TemplateURL=f"{emulator.url}/packages/template.json",
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        waiter = cloudformation.get_waiter("stack_create_complete")
        try:
            waiter.wait(StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        except botocore.exceptions.WaiterError as error:
            events = cloudformation.describe_stack_events(StackName=NAME)["StackEvents"]
            why = [f"{of['LogicalResourceId']}: {of['ResourceStatusReason']}" for of in events if of.get("ResourceStatusReason")]
            raise AssertionError("\n".join(why)) from error
        [described] = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
        outputs = {
            re.sub("^Deputize|[0-9A-F]{8}$", "", output["OutputKey"]): output["OutputValue"]
            for output in described["Outputs"]
        }
        resources = Resources(outputs["TableName"], outputs["VaultKeyArn"])
        guards = {
            name: Guard(name, Policy(synthesized.statements(name)), resources, emulator.url) for name in FUNCTIONS
        }
        [api] = emulator.client("apigateway").get_rest_apis()["items"]
        proxy = Executions(lambda: Function(f"{NAME}-proxy", stack.proxys_variables))
        definition = synthesized.resources["Api"].properties["Body"]
        gateway = Gateway(f"{emulator.url}/_aws/execute-api/{api['id']}/live", definition, proxy)
        keys = emulator.client("apigateway").get_api_keys(includeValues=True)["items"]
        gateway.asks_for({key["value"] for key in keys})
        # The secret's value from CloudFormation, at both ends.
        [distribution] = emulator.client("cloudfront").list_distributions()["DistributionList"]["Items"]
        [origin] = distribution["Origins"]["Items"]
        sent_along = {of["HeaderName"]: of["HeaderValue"] for of in origin["CustomHeaders"]["Items"]}
        config = synthesized.resources["Distribution"].properties["DistributionConfig"]
        cloudfront = CloudFront(config, gateway, sent_along)
        # The template's address, which the emulator cannot resolve.
        assert outputs["Url"] == f"https://{distribution['DomainName']}", outputs["Url"]
        stack = cls(emulator, synthesized, outputs, guards, gateway, cloudfront, cloudfront.url, always)
        stack.configure({})
        return stack

    def configure(self, more: Mapping[str, str]) -> None:
        """Sets the template's configuration with the emulator's addresses. Processes then start again."""
        functions = self.emulator.client("lambda")
        for name in FUNCTIONS:
            variables = self._variables[name] | {
                "DEPUTIZE_URL": self.url,
                "AWS_ENDPOINT_URL_DYNAMODB": self.guards[name].url,
                "AWS_ENDPOINT_URL_KMS": self.guards[name].url,
                **self.always,
            }
            # A file of Amazon Linux, which this machine may not have.
            del variables["SSL_CERT_FILE"]
            assert variables["DEPUTIZE_CALLER_ADDRESS"] == "cloudfront"
            if name == "proxy":
                # It runs beside the emulator, which does not stream.
                self.proxys_variables = variables | dict(more) | credentials() | {"AWS_LAMBDA_FUNCTION_NAME": f"{NAME}-{name}"}
                self.gateway.proxy.restart()
            functions.update_function_configuration(
                FunctionName=f"{NAME}-{name}", Environment={"Variables": variables | dict(more)}
            )

    proxys_variables: dict[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def _variables(self) -> dict[str, dict[str, str]]:
        """The variables from CloudFormation."""
        functions = self.emulator.client("lambda")
        found = (functions.get_function_configuration(FunctionName=f"{NAME}-{name}") for name in FUNCTIONS)
        return {name: of["Environment"]["Variables"] for name, of in zip(FUNCTIONS, found, strict=True)}

    def bootstrap(self, *more: str) -> subprocess.CompletedProcess[str]:
        """`deputize bootstrap`, as an operator runs it."""
        return self._operates("bootstrap", "--admin-email", ADMIN, *more)

    def store_sign_in_secrets(self, secrets: str) -> subprocess.CompletedProcess[str]:
        """`deputize sign-in-secrets`, as an operator runs it."""
        return self._operates("sign-in-secrets", "-", given=secrets)

    def erase(self) -> subprocess.CompletedProcess[str]:
        """`deputize erase`, as an operator runs it."""
        return self._operates("erase")

    def _operates(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [binary(), *command, "--table", self.outputs["TableName"], "--kms-key", self.outputs["VaultKeyArn"]],
            input=given,
            env={"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": self.emulator.url, **credentials()},
            capture_output=True,
            text=True,
            check=False,
        )

    def logs(self) -> str:
        """Everything that the functions have logged."""
        logs = self.emulator.client("logs")
        lines = []
        for name in FUNCTIONS:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{NAME}-{name}")
            lines += [event["message"] for page in pages for event in page["events"]]
        return "\n".join([*lines, self.gateway.proxy.output()])

    def stop(self) -> None:
        self.cloudfront.stop()
        self.gateway.stop()
        for guard in self.guards.values():
            guard.stop()


def _by_the_cdk(
    emulator: Emulator, parameters: Mapping[str, str], folder: Path
) -> tuple[dict[str, Any], Stack]:
    """The CDK's template. The CDK would upload its packages itself, into the bucket of a CDK bootstrap."""
    made = cdk_synthesis(parameters, PACKAGES, folder / "cdk")
    storage: Any = emulator.client("s3")
    _make_bucket(storage)
    del made["Parameters"], made["Rules"]
    for of in made["Resources"].values():
        if of["Type"] == "AWS::Lambda::Function":
            key = of["Properties"]["Code"]["S3Key"]
            asset = folder / "cdk" / f"asset.{key}"
            if asset.exists():
                storage.put_object(Bucket="packages", Key=key, Body=asset.read_bytes())
            of["Properties"]["Code"]["S3Bucket"] = "packages"
    return made, cdk_stack(made, parameters)


def _make_bucket(storage: Any) -> None:
    storage.create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": REGION})


def _upload_packages(emulator: Emulator) -> None:
    storage: Any = emulator.client("s3")
    _make_bucket(storage)
    for name in FUNCTIONS:
        zip_file = PACKAGES / f"deputize-{name}" / "bootstrap.zip"
        assert zip_file.exists(), f"{zip_file} is missing: run infra/build --x86_64"
        storage.put_object(Bucket="packages", Key=f"deputize-{name}/bootstrap.zip", Body=zip_file.read_bytes())
