"""The tools' findings: SAM's and CloudFormation's linters on the template, cdk-nag on the app, and the TypeScript
compiler."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from templates import CDK_APP, EDGE_TEMPLATE, SAM_TEMPLATE, TOOLS

Synthesis = tuple[dict[str, Any], Path]


def run(command: Sequence[str | Path], cwd: Path) -> None:
    environment = os.environ | {"AWS_DEFAULT_REGION": "eu-central-1", "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("template", [SAM_TEMPLATE, EDGE_TEMPLATE], ids=lambda template: template.name)
def test_sam_validates_the_templates(template: Path) -> None:
    run([TOOLS / "sam", "validate", "--lint", "--template", template], template.parent)


@pytest.mark.parametrize("template", [SAM_TEMPLATE, EDGE_TEMPLATE], ids=lambda template: template.name)
def test_cfn_lint_has_nothing_to_say(template: Path) -> None:
    run([TOOLS / "cfn-lint", template], template.parent)


def test_cfn_lint_has_nothing_to_say_of_the_cdks_template(cdk_template: Callable[[str], Synthesis]) -> None:
    _, synthesis = cdk_template("everything")
    # W3005: the CDK states twice that a function needs its role.
    made = [synthesis / f"{stack}.template.json" for stack in ("deputize", "deputize-edge")]
    run([TOOLS / "cfn-lint", "--ignore-checks", "W3005", "--", *made], synthesis)


def test_the_app_compiles() -> None:
    run(["npx", "tsc", "--noEmit"], CDK_APP)


# What cdk-nag finds in each configuration, and is answered.
ALWAYS = ["APIG2", "APIG3", "APIG6", "CFR1", "CFR2", "CFR3", "CFR4", "SMG4"]
FOUND = {
    "default": [*ALWAYS, "APIG1"],
    "in a network of one's own": [*ALWAYS, "IAM5"],
}


@pytest.mark.parametrize("configuration", FOUND)
def test_cdk_nag_finds_nothing_that_is_not_answered_in_a_sentence(
    configuration: str, cdk_template: Callable[[str], Synthesis]
) -> None:
    _, synthesis = cdk_template(configuration)
    reports = json.loads((synthesis / "validation-report.json").read_text())["pluginReports"]
    [report] = [report for report in reports if report["pluginName"] == "AwsSolutions"]
    assert report["violations"] == []
    answers = {answered["ruleName"]: answered["reason"] for answered in report["suppressedViolations"]}
    assert {rule.split("[")[0] for rule in answers} == {f"AwsSolutions-{rule}" for rule in FOUND[configuration]}
    assert all(len(reason.split()) > 8 and reason.endswith(".") for reason in answers.values())
