"""Both templates in the same form. Parameters and conditions are decided, intrinsic functions are resolved as far as
possible, and resources have the names of the SAM template.

Values that only a deployment knows stay in the text as `${Name}` or `${Name.Attribute}`.
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
EDGE_TEMPLATE = REPOSITORY / "infra" / "sam" / "edge.yaml"
CDK_APP = REPOSITORY / "infra" / "cdk"
TOOLS = Path(__file__).parent / ".venv" / "bin"

FUNCTIONS = ("token", "delegations", "grants", "proxy", "admin", "console")

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
        """The statements of a function's role: exactly one policy document."""
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
            if kind == "Fn::Split":
                separator, text = of
                return _scalar(self._resolve(text)).split(separator)
            if kind == "Fn::Select":
                at, choices = of
                return self._resolve(choices)[int(at)]
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


def decided(template: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The template with its conditions decided, and otherwise as it is."""
    stack = Stack(template, parameters, {})

    def decide(value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(decide, value) if each is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if value == {"Ref": "AWS::NoValue"}:
            return _NOTHING
        if value.keys() == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return decide(then if stack._holds(condition) else otherwise)
        each = ((key, decide(of)) for key, of in value.items())
        return {key: of for key, of in each if of is not _NOTHING}

    declared = {
        name: of | {"Default": parameters.get(name, of.get("Default"))}
        for name, of in template.get("Parameters", {}).items()
    }
    resources = {
        name: {key: decide(of) for key, of in source.items() if key != "Condition"}
        for name, source in template["Resources"].items()
        if stack._holds(source.get("Condition"))
    }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Parameters": declared, "Resources": resources}


def _scalar(value: Any) -> str:
    """Templates write numbers and booleans as such or as text. CloudFormation treats both alike."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def expanded_sam_template(
    parameters: Mapping[str, str], template: Path = SAM_TEMPLATE, *, at: int = 0
) -> dict[str, Any]:
    """At a time in seconds."""
    expanded = subprocess.run(
        [TOOLS / "python", Path(__file__).parent / "expand.py", template, str(at)],
        input=json.dumps(_given(parameters)),
        env={"AWS_DEFAULT_REGION": "eu-central-1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expanded.returncode == 0, expanded.stderr
    return json.loads(expanded.stdout)


def _given(parameters: Mapping[str, str]) -> dict[str, str]:
    """Without values that CloudFormation itself sets, such as `AWS::Region`. A configuration may set these to decide
    conditions."""
    return {name: value for name, value in parameters.items() if "::" not in name}


def sam_stack(parameters: Mapping[str, str], template: Path = SAM_TEMPLATE) -> Stack:
    expanded = expanded_sam_template(parameters, template)
    names = {name: re.sub("(ApiDeployment|FunctionVersion)[0-9a-f]+$", r"\1", name) for name in expanded["Resources"]}
    names |= {name: name.replace("FunctionAliaslive", "FunctionAlias") for name in names if "FunctionAlias" in name}
    names["ApiliveStage"] = "ApiStage"
    return Stack(expanded, parameters, names)


def cdk_synthesis(parameters: Mapping[str, str], packages: Path, into: Path) -> dict[str, Any]:
    """Runs the app, whose context has the parameters' names. Returns its template."""
    given = _given(parameters) | {"Packages": str(packages), "EdgeStack": "true"}
    context = {name[0].lower() + name[1:]: value for name, value in given.items()}
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


def cdk_stack(template: dict[str, Any], parameters: Mapping[str, str]) -> Stack:
    """Named by the constructs' paths: `deputize/Deputize/TokenRole/Resource` is `TokenRole`."""
    pseudo = {name: value for name, value in parameters.items() if "::" in name}
    resources = {name: of for name, of in template["Resources"].items() if of["Type"] != "AWS::CDK::Metadata"}
    names = {}
    for name, of in resources.items():
        stack, *path = of["Metadata"]["aws:cdk:path"].removeprefix("deputize/Deputize/").split("/")
        path = [part for part in [stack, *path] if part not in ("Resource", "deputize-edge")]
        plain = "".join(path).replace("DeploymentStage.live", "Stage").replace("CurrentVersion", "Version")
        # SAM makes the edge's version itself. The others are separate resources.
        names[name] = re.sub("^(Token|Proxy)FunctionVersion$", r"\1Version", plain)
    return Stack(template | {"Resources": resources}, pseudo, names)
