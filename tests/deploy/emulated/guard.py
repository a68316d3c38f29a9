"""IAM in front of DynamoDB and KMS.

`ministack` evaluates no conditions, but ours are essential: they name the allowed partitions and items' keys. So
each function gets its own address here for both services. The policy of that function's role in the template
judges each request. It is then passed on to the emulator, or answered as AWS would.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.relay import Answer, Headers, Relay, target
from policies import Policy, Request, on_the_table


@dataclass(frozen=True)
class Resources:
    """The values of the template's `${Table.Arn}` and `${VaultKey.Arn}` in this deployment."""

    table: str
    key_arn: str

    def table_arn(self, name: str) -> str:
        return "${Table.Arn}" if name == self.table else f"another table: {name}"

    def key(self, arn: str) -> str:
        return "${VaultKey.Arn}" if arn == self.key_arn else f"another key: {arn}"


@dataclass
class Guard:
    """One function's connection to DynamoDB and KMS."""

    function: str
    policy: Policy
    resources: Resources
    upstream: str
    allowed: Counter[tuple[str, str]] = field(default_factory=Counter)
    denied: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._relay = Relay(self.upstream, self.answer)
        self.url = self._relay.url

    def stop(self) -> None:
        self._relay.stop()

    def answer(self, headers: Headers, body: bytes) -> Answer:
        service, _, operation = target(headers).partition(".")
        asked = list(self.asked(service, operation, json.loads(body)))
        for request in asked:
            if not self.policy.allows(request):
                self.denied.append(request)
                return _refusal(service, request)
        for request in asked:
            for key in next(iter(request.context.values()), ("",)):
                self.allowed[request.action, key.split("#")[0]] += 1
        return self._relay.forward(headers, body)

    def asked(self, service: str, operation: str, body: dict[str, Any]) -> Iterator[Request]:
        if service.startswith("DynamoDB"):
            yield from _of_the_table(operation, body, self.resources)
        else:
            context = {f"kms:EncryptionContext:{name}": (of,) for name, of in body.get("EncryptionContext", {}).items()}
            # In the order by which `allowed` counts.
            context = dict(sorted(context.items()))
            yield Request(f"kms:{operation}", self.resources.key(body.get("KeyId", "")), context)


def _of_the_table(operation: str, body: dict[str, Any], resources: Resources) -> Iterator[Request]:
    """The questions to IAM: one for each part of a transaction, and one for a whole batch."""

    def one(action: str, table: str, *keys: str) -> Request:
        return on_the_table(action, *keys, table=resources.table_arn(table))

    match operation:
        case "BatchGetItem":
            for table, of in body["RequestItems"].items():
                yield one(operation, table, *(key["pk"]["S"] for key in of["Keys"]))
        case "BatchWriteItem":
            for table, writes in body["RequestItems"].items():
                keys = (write.get("PutRequest", {}).get("Item") or write["DeleteRequest"]["Key"] for write in writes)
                yield one(operation, table, *(key["pk"]["S"] for key in keys))
        case "TransactWriteItems":
            actions = {"Put": "PutItem", "Delete": "DeleteItem", "Update": "UpdateItem", "ConditionCheck": "ConditionCheckItem"}
            for part in body["TransactItems"]:
                [(kind, of)] = part.items()
                yield one(actions[kind], of["TableName"], (of.get("Item") or of["Key"])["pk"]["S"])
        case "Query":
            arn = resources.table_arn(body["TableName"])
            if index := body.get("IndexName"):
                arn = f"{arn}/index/{index}"
            yield on_the_table(operation, _queried_partition(body), table=arn)
        case "PutItem" | "DeleteItem" | "UpdateItem" | "GetItem":
            yield one(operation, body["TableName"], (body.get("Item") or body["Key"])["pk"]["S"])
        case _:
            yield Request(f"dynamodb:{operation}", resources.table_arn(body.get("TableName", "")))


def _queried_partition(body: dict[str, Any]) -> str:
    """The value of the first condition, which is the partition key's."""
    name, _, rest = body["KeyConditionExpression"].partition("=")
    name = body.get("ExpressionAttributeNames", {}).get(name.strip(), name.strip())
    assert name in ("pk", "audit_agent", "audit_user", "audit_server"), name
    return body["ExpressionAttributeValues"][rest.split()[0]]["S"]


def _refusal(service: str, request: Request) -> Answer:
    prefix = "com.amazon.coral.service#" if service.startswith("DynamoDB") else ""
    body = {
        "__type": f"{prefix}AccessDeniedException",
        "message": f"User is not authorized to perform: {request.action} on resource: {request.resource}",
    }
    return 400, {"content-type": "application/x-amz-json-1.0"}, json.dumps(body).encode()
