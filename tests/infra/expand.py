"""Expands the SAM template to plain CloudFormation, offline, like the SAM transform on AWS.

Run by the interpreter of tests/infra/.venv: `expand.py TEMPLATE SECONDS`, with parameters as JSON on standard
input. SECONDS is the time of the deployment: it is all that distinguishes two deployments of an unchanged API.
Each function's package is named by its folder instead of a file: `s3://packages/deputize-token/bootstrap.zip`. A
folder is named by its name: `s3://packages/edge.zip`.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from samtranslator.model import apigateway
from samtranslator.public.translator import ManagedPolicyLoader  # noqa: F401  (says early if it is the wrong interpreter)
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


def main() -> None:
    template = yaml_parse(Path(sys.argv[1]).read_text())
    for resource in template["Resources"].values():
        code = resource.get("Properties", {}).get("CodeUri")
        if code is not None:
            path = Path(code)
            key = "/".join(path.parts[-2:]) if path.suffix == ".zip" else f"{path.name}.zip"
            resource["Properties"]["CodeUri"] = f"s3://packages/{key}"
    apigateway.time = SimpleNamespace(time=lambda: float(sys.argv[2]))
    no_managed_policies = SimpleNamespace(load=dict)
    json.dump(transform(template, json.load(sys.stdin), no_managed_policies), sys.stdout)


main()
