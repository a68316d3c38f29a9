"""Both templates in one form: parameters and conditions decided, intrinsic functions resolved as far as a template
goes, resources under the names that the SAM template gives them.

What only a deployment knows stays in the text as `${Name}` or `${Name.Attribute}`.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SAM_TEMPLATE = REPOSITORY / "infra" / "sam" / "template.yaml"
CDK_APP = REPOSITORY / "infra" / "cdk"
TOOLS = Path(__file__).parent / ".venv" / "bin"

FUNCTIONS = ("token", "delegations", "grants", "proxy", "admin")

_NOTHING = object()


@dataclass(frozen=True)
class Resource:
    type: str
    properties: dict[str, Any]
    deletion_policy: str


class Stack:
    """A template's resources, by name."""

    def __init__(self, template: dict[str, Any], parameters: Mapping[str, str], names: Mapping[str, str]) -> None:
        defaults = {name: of["Default"] for name, of in template.get("Parameters", {}).items() if "Default" in of}
        self._parameters = defaults | dict(parameters)
        self._names = names
        self._conditions = template.get("Conditions", {})
        self._sources = template["Resources"]
        self.resources = {
            names.get(name, name): Resource(
                source["Type"],
                self.resolved(source.get("Properties", {})),
                source.get("DeletionPolicy", "Delete"),
            )
            for name, source in self._sources.items()
            if self._holds(source.get("Condition"))
        }
        self.outputs = {
            re.sub("^Deputize|[0-9A-F]{8}$", "", name): self.resolved(output["Value"])
            for name, output in template.get("Outputs", {}).items()
            if self._holds(output.get("Condition"))
        }

    def function(self, name: str) -> Resource:
        return self.resources[f"{name.capitalize()}Function"]

    def statements(self, name: str) -> list[dict[str, Any]]:
        """What the policy of a function's role says: one document, and nothing beside it."""
        role = self.resources[f"{name.capitalize()}Role"].properties
        assert "ManagedPolicyArns" not in role
        attached = [resource for resource in self.resources.values() if resource.type == "AWS::IAM::Policy"]
        assert attached == []
        [policy] = role["Policies"]
        return policy["PolicyDocument"]["Statement"]

    def resolved(self, value: Any) -> Any:
        resolved = self._resolve(value)
        return None if resolved is _NOTHING else resolved

    def _holds(self, condition: Any) -> bool:
        if condition is None:
            return True
        if isinstance(condition, str):
            return self._holds(self._conditions[condition])
        [(kind, of)] = condition.items()
        match kind:
            case "Condition":
                return self._holds(of)
            case "Fn::Not":
                return not self._holds(of[0])
            case "Fn::And":
                return all(self._holds(each) for each in of)
            case "Fn::Or":
                return any(self._holds(each) for each in of)
            case "Fn::Equals":
                left, right = (_scalar(self._resolve(side)) for side in of)
                return left == right
        raise AssertionError(f"an unknown condition: {condition}")

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [item for item in map(self._resolve, value) if item is not _NOTHING]
        if not isinstance(value, dict):
            return value if isinstance(value, str) else _scalar(value)
        if len(value) == 1:
            [(kind, of)] = value.items()
            if kind == "Ref":
                return self._named(of)
            if kind == "Fn::GetAtt":
                name, attribute = of.split(".", 1) if isinstance(of, str) else of
                return self._named(f"{name}.{attribute}")
            if kind == "Fn::Sub":
                return self._substituted(of)
            if kind == "Fn::Join":
                separator, parts = of
                return separator.join(_scalar(self._resolve(part)) for part in parts)
            if kind == "Fn::If":
                condition, then, otherwise = of
                return self._resolve(then if self._holds(condition) else otherwise)
        resolved = ((key, self._resolve(each)) for key, each in value.items())
        return {key: each for key, each in resolved if each is not _NOTHING}

    def _substituted(self, of: Any) -> str:
        text, given = (of, {}) if isinstance(of, str) else of

        def put(match: re.Match[str]) -> str:
            name = match[1]
            return _scalar(self._resolve(given[name])) if name in given else _scalar(self._named(name))

        return re.sub(r"\$\{([^!}]+)\}", put, text)

    def _named(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._parameters:
            return _scalar(self._parameters[name])
        first, dot, attribute = name.partition(".")
        return f"${{{self._names.get(first, first)}{dot}{attribute}}}"


def _scalar(value: Any) -> str:
    """Templates write numbers and truth values as such or as text, which is the same to CloudFormation."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def expanded_sam_template(parameters: Mapping[str, str]) -> dict[str, Any]:
    expanded = subprocess.run(
        [TOOLS / "python", Path(__file__).parent / "expand.py", SAM_TEMPLATE],
        input=json.dumps(parameters),
        env={"AWS_DEFAULT_REGION": "eu-central-1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expanded.returncode == 0, expanded.stderr
    return json.loads(expanded.stdout)


def sam_stack(parameters: Mapping[str, str]) -> Stack:
    template = expanded_sam_template(parameters)
    names = {name: re.sub("^ApiDeployment[0-9a-f]+$", "ApiDeployment", name) for name in template["Resources"]}
    names["ApiliveStage"] = "ApiStage"
    return Stack(template, parameters, names)


def cdk_synthesis(parameters: Mapping[str, str], packages: Path, into: Path) -> dict[str, Any]:
    """Runs the app, whose context has the parameters' names, and answers its template."""
    context = {name[0].lower() + name[1:]: value for name, value in parameters.items()} | {"packages": str(packages)}
    flags = [flag for name, value in context.items() for flag in ("--context", f"{name}={value}")]
    synthesized = subprocess.run(
        ["npx", "cdk", "synth", "--quiet", "--no-notices", "--output", into, *flags],
        cwd=CDK_APP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert synthesized.returncode == 0, synthesized.stdout + synthesized.stderr
    return json.loads((into / "deputize.template.json").read_text())


def cdk_stack(template: dict[str, Any]) -> Stack:
    """By the constructs' paths: `deputize/Deputize/TokenRole/Resource` is `TokenRole`."""
    resources = {name: of for name, of in template["Resources"].items() if of["Type"] != "AWS::CDK::Metadata"}
    names = {}
    for name, of in resources.items():
        path = of["Metadata"]["aws:cdk:path"].split("/")[2:]
        names[name] = "".join(part for part in path if part != "Resource").replace("DeploymentStage.live", "Stage")
    return Stack(template | {"Resources": resources}, {}, names)
