"""Which properties of a resource cannot change without replacing it, by CloudFormation's own schemas, from the
linter. Run by the interpreter of tests/infra/.venv, with a JSON list of types on standard input."""

import json
import sys

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

schemas = {kind: PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema for kind in json.load(sys.stdin)}
json.dump(
    {
        kind: [path.split("/")[2] for path in schema.get("createOnlyProperties") or []]
        for kind, schema in schemas.items()
    },
    sys.stdout,
)
