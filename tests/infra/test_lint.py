"""What the tools say: SAM's and CloudFormation's linters of the template, cdk-nag of the app, the TypeScript compiler."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from templates import CDK_APP, SAM_TEMPLATE, TOOLS

Synthesis = tuple[dict[str, Any], Path]


def run(command: Sequence[str | Path], cwd: Path) -> None:
    environment = os.environ | {"AWS_DEFAULT_REGION": "eu-central-1", "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sam_validates_the_template() -> None:
    run([TOOLS / "sam", "validate", "--lint", "--template", SAM_TEMPLATE], SAM_TEMPLATE.parent)


def test_cfn_lint_has_nothing_to_say() -> None:
    run([TOOLS / "cfn-lint", SAM_TEMPLATE], SAM_TEMPLATE.parent)


def test_cfn_lint_has_nothing_to_say_of_the_cdks_template(cdk_template: Callable[[str], Synthesis]) -> None:
    _, synthesis = cdk_template("everything")
    # W3005: the CDK says twice that a function needs its role.
    run([TOOLS / "cfn-lint", "--ignore-checks", "W3005", "--", synthesis / "deputize.template.json"], synthesis)


def test_the_app_compiles() -> None:
    run(["npx", "tsc", "--noEmit"], CDK_APP)


def test_cdk_nag_finds_nothing_that_is_not_answered_in_a_sentence(cdk_template: Callable[[str], Synthesis]) -> None:
    _, synthesis = cdk_template("default")
    reports = json.loads((synthesis / "validation-report.json").read_text())["pluginReports"]
    [report] = [report for report in reports if report["pluginName"] == "AwsSolutions"]
    assert report["violations"] == []
    answers = {answered["ruleName"]: answered["reason"] for answered in report["suppressedViolations"]}
    assert sorted(answers) == [f"AwsSolutions-APIG{number}" for number in (1, 2, 3, 6)]
    assert all(len(reason.split()) > 8 and reason.endswith(".") for reason in answers.values())
