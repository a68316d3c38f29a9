"""The stack, from the template to the first admin."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from emulated.adaptation import adapted
from emulated.emulator import Emulator, credentials
from emulated.guard import Guard, Resources
from harness.server import binary
from policies import Policy
from templates import FUNCTIONS, REPOSITORY, Stack, expanded_sam_template, sam_stack

NAME = "deputize"
ADMIN = "alice@example.com"
# Where `infra/build` puts the packages.
PACKAGES = Path(os.environ.get("DEPUTIZE_PACKAGES", REPOSITORY / "target" / "lambda"))


@dataclass
class DeployedStack:
    emulator: Emulator
    synthesized: Stack
    outputs: dict[str, str]
    guards: dict[str, Guard]
    url: str

    @classmethod
    def create(cls, emulator: Emulator, parameters: Mapping[str, str]) -> DeployedStack:
        parameters = {"Architecture": "x86_64", **parameters}
        _upload_packages(emulator)
        template = json.dumps(adapted(expanded_sam_template(parameters)))
        # Longer than what fits into a request, as `sam deploy` has it too.
        emulator.client("s3").put_object(Bucket="packages", Key="template.json", Body=template.encode())
        cloudformation = emulator.client("cloudformation")
        cloudformation.create_stack(
            StackName=NAME,
            TemplateURL=f"{emulator.url}/packages/template.json",
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        [made] = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
        [api] = emulator.client("apigateway").get_rest_apis()["items"]
        synthesized = sam_stack(parameters)
        resources = Resources(outputs["TableName"], outputs["VaultKeyArn"])
        guards = {
            name: Guard(name, Policy(synthesized.statements(name)), resources, emulator.url) for name in FUNCTIONS
        }
        # The address that the template says, as far as the emulator has names for it.
        expected = f"https://{api['id']}.execute-api."
        assert outputs["Url"].startswith(expected) and outputs["Url"].endswith("/live"), outputs["Url"]
        stack = cls(emulator, synthesized, outputs, guards, f"{emulator.url}/_aws/execute-api/{api['id']}/live")
        stack.configure({})
        return stack

    def configure(self, more: Mapping[str, str]) -> None:
        """The template's configuration, with the emulator's addresses; processes start anew with it."""
        functions = self.emulator.client("lambda")
        for name in FUNCTIONS:
            variables = self._variables[name] | {
                "DEPUTIZE_URL": self.url,
                "AWS_ENDPOINT_URL_DYNAMODB": self.guards[name].url,
                "AWS_ENDPOINT_URL_KMS": self.guards[name].url,
            }
            # Of Amazon Linux, which this machine need not be.
            del variables["SSL_CERT_FILE"]
            if name == "proxy":
                variables["DEPUTIZE_STREAM_RESPONSES"] = "false"
            functions.update_function_configuration(
                FunctionName=f"{NAME}-{name}", Environment={"Variables": variables | dict(more)}
            )

    @cached_property
    def _variables(self) -> dict[str, dict[str, str]]:
        """As CloudFormation has set them."""
        functions = self.emulator.client("lambda")
        found = (functions.get_function_configuration(FunctionName=f"{NAME}-{name}") for name in FUNCTIONS)
        return {name: of["Environment"]["Variables"] for name, of in zip(FUNCTIONS, found, strict=True)}

    def bootstrap(self, *more: str) -> subprocess.CompletedProcess[str]:
        """`deputize bootstrap`, as an operator runs it."""
        return subprocess.run(
            [
                binary(),
                *("bootstrap", "--admin-email", ADMIN),
                *("--table", self.outputs["TableName"], "--kms-key", self.outputs["VaultKeyArn"]),
                *more,
            ],
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
        return "\n".join(lines)

    def stop(self) -> None:
        for guard in self.guards.values():
            guard.stop()


def _upload_packages(emulator: Emulator) -> None:
    storage: Any = emulator.client("s3")
    storage.create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for name in FUNCTIONS:
        zip_file = PACKAGES / f"deputize-{name}" / "bootstrap.zip"
        assert zip_file.exists(), f"{zip_file} is missing: run infra/build --x86_64"
        storage.put_object(Bucket="packages", Key=f"deputize-{name}/bootstrap.zip", Body=zip_file.read_bytes())
