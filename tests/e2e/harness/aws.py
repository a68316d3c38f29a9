"""A deployment's table and keys, as CloudFormation makes them, for `deputize bootstrap`."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess

import httpx

from harness.secrets_ledger import LEDGER
from harness.server import ALL_OF_OURS, START_DEADLINE_SECONDS, Exit, binary

TABLE = "deputize"
_INDEXES = {f"audit_by_{whom}": f"audit_{whom}" for whom in ("agent", "user", "server")}


def _keys(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


def create_table(dynamodb: str, *, name: str = TABLE, partition: str = "pk") -> None:
    """A table by DynamoDB's own API, as an operator's template describes it."""
    attributes = [partition, "sk", *_INDEXES.values()]
    body = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": _keys(partition, "sk"),
        "AttributeDefinitions": [{"AttributeName": a, "AttributeType": "S"} for a in attributes],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": _keys(attribute, "sk"),
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, attribute in _INDEXES.items()
        ],
    }
    headers = {
        "x-amz-target": "DynamoDB_20120810.CreateTable",
        "content-type": "application/x-amz-json-1.0",
        "authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/dynamodb/aws4_request, "
        "SignedHeaders=host, Signature=0",
        "x-amz-date": "20260101T000000Z",
    }
    made = httpx.post(dynamodb, content=json.dumps(body), headers=headers)
    assert made.is_success, made.text


class Operator:
    """An operator with rights on a deployment's table and root key."""

    def __init__(self, dynamodb: str) -> None:
        self.root_key = secrets.token_bytes(32)
        LEDGER.add_key("DEPUTIZE_VAULT_KEY", self.root_key)
        self.environment = {
            "AWS_ENDPOINT_URL": dynamodb,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "DEPUTIZE_TABLE": TABLE,
            "DEPUTIZE_VAULT_KEY": base64.b64encode(self.root_key).decode(),
        }
        LEDGER.add("AWS_SECRET_ACCESS_KEY", self.environment["AWS_SECRET_ACCESS_KEY"])

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DEPUTIZE_"))}
        return subprocess.Popen(
            [binary(), "bootstrap", *arguments],
            env=kept | {"RUST_LOG": ALL_OF_OURS} | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def bootstrap(self, *arguments: str, **environment: str) -> Exit:
        """Runs it to its end. Its standard output is the admin's key, so only the rest is searched for secrets."""
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=START_DEADLINE_SECONDS)
        if key := stdout.strip():
            LEDGER.add("the admin's API key", key)
        LEDGER.watch(lambda: stderr)
        return Exit(process.returncode, stdout, stderr)
