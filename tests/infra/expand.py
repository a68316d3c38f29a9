"""Expands the SAM template to plain CloudFormation, offline, as the SAM transform does on AWS.

Run by the interpreter of tests/infra/.venv: `expand.py TEMPLATE`, with parameters as JSON on standard input. Each
function's package is named by its folder in place of a file: `s3://packages/deputize-token/bootstrap.zip`.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from samtranslator.public.translator import ManagedPolicyLoader  # noqa: F401  (says early if it is the wrong interpreter)
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


def main() -> None:
    template = yaml_parse(Path(sys.argv[1]).read_text())
    for resource in template["Resources"].values():
        code = resource.get("Properties", {}).get("CodeUri")
        if code is not None:
            resource["Properties"]["CodeUri"] = "s3://packages/" + "/".join(Path(code).parts[-2:])
    no_managed_policies = SimpleNamespace(load=dict)
    json.dump(transform(template, json.load(sys.stdin), no_managed_policies), sys.stdout)


main()
