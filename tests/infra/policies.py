"""What a policy of IAM allows: as much of its language as our policies speak, and an error for the rest.

IAM User Guide, "Policy evaluation logic": an explicit deny decides, then an allow; what nothing allows is denied.
DynamoDB Developer Guide, "Using IAM policy conditions": `dynamodb:LeadingKeys` are the partition keys of a request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One action on one resource. `context` holds the values of the condition keys."""

    action: str
    resource: str
    context: dict[str, Sequence[str]] = field(default_factory=dict)


class Policy:
    def __init__(self, statements: Sequence[dict[str, Any]]) -> None:
        self._statements = statements
        for statement in statements:
            _known(statement)

    def allows(self, request: Request) -> bool:
        effects = {statement["Effect"] for statement in self._statements if _applies(statement, request)}
        return effects == {"Allow"}


def _known(statement: dict[str, Any]) -> None:
    unknown = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
    assert not unknown, f"{unknown} is not understood here"
    assert statement["Effect"] in ("Allow", "Deny")
    for operator in statement.get("Condition", {}):
        assert operator in _OPERATORS, f"{operator} is not understood here"


def _applies(statement: dict[str, Any], request: Request) -> bool:
    return (
        any(_like(action, request.action, ignore_case=True) for action in _listed(statement["Action"]))
        and any(_like(resource, request.resource) for resource in _listed(statement["Resource"]))
        and all(
            _OPERATORS[operator](request.context.get(key, ()), _listed(wanted))
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _like(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in pattern)
    return re.fullmatch(expression, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _string_like(values: Sequence[str], wanted: list[str]) -> bool:
    """A key with one value. A missing key does not match."""
    return len(values) == 1 and any(_like(pattern, values[0]) for pattern in wanted)


def _all_string_like(values: Sequence[str], wanted: list[str]) -> bool:
    """Each value matches a pattern. Also true if there are no values."""
    return all(any(_like(pattern, value) for pattern in wanted) for value in values)


def _null(values: Sequence[str], wanted: list[str]) -> bool:
    return [str(len(values) == 0).lower()] == [value.lower() for value in wanted]


def _arn_equals(values: Sequence[str], wanted: list[str]) -> bool:
    """Like `ArnLike` (IAM User Guide, "ARN condition operators"). A missing key does not match."""
    return len(values) == 1 and any(_like(pattern, values[0]) for pattern in wanted)


_OPERATORS = {"ArnEquals": _arn_equals, "StringLike": _string_like, "ForAllValues:StringLike": _all_string_like, "Null": _null}


def on_the_table(action: str, *partition_keys: str, table: str = "${Table.Arn}") -> Request:
    return Request(f"dynamodb:{action}", table, {"dynamodb:LeadingKeys": partition_keys})


def with_the_key(action: str, partition_key: str, *, key: str = "${VaultKey.Arn}") -> Request:
    """A use of the vault's key for an item. The item's key is the encryption context (functions/service/src/kms.rs)."""
    return Request(f"kms:{action}", key, {"kms:EncryptionContext:pk": (partition_key,)})
