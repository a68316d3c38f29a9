"""The table that the templates make is the one that functions/core expects."""

from __future__ import annotations

import re

from templates import REPOSITORY, Stack

KEY = (REPOSITORY / "functions/core/src/table/key.rs").read_text()


def keys(schema: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(key["AttributeName"], key["KeyType"]) for key in schema]


def test_its_keys_and_indexes_are_the_codes(stack: Stack) -> None:
    table = stack.resources["Table"].properties
    assert keys(table["KeySchema"]) == [("pk", "HASH"), ("sk", "RANGE")]
    indexes = dict(re.findall(r'Self::\w+ => "(audit_by_(\w+))"', KEY))
    assert len(indexes) == 3
    assert {index["IndexName"]: keys(index["KeySchema"]) for index in table["GlobalSecondaryIndexes"]} == {
        name: [(f"audit_{by}", "HASH"), ("sk", "RANGE")] for name, by in indexes.items()
    }


def test_nothing_in_it_is_lost_by_a_mistake(stack: Stack) -> None:
    table = stack.resources["Table"]
    assert table.deletion_policy == "Retain"
    assert table.properties["DeletionProtectionEnabled"] == "true"
    assert table.properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] == "true"


def test_what_has_expired_leaves_it(stack: Stack) -> None:
    ttl = stack.resources["Table"].properties["TimeToLiveSpecification"]
    assert ttl == {"AttributeName": "ttl", "Enabled": "true"}


def test_the_key_of_what_is_sealed_outlives_the_stack_and_is_rotated(stack: Stack) -> None:
    key = stack.resources["VaultKey"]
    assert key.deletion_policy == "Retain"
    assert key.properties["EnableKeyRotation"] == "true"
