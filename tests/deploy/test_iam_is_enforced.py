"""IAM itself refuses what is forbidden, whatever a function's code does. All other tests here and the cookbook show
that the policies suffice: they run behind the same guard."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest
from emulated.deployment import Deployment
from emulated.emulator import client

USER = "USER#0197c5a0-0000-7000-8000-000000000001"
AGENT = "AGENT#0197c5a0-0000-7000-8000-000000000002"


class Intruder:
    """An attacker who controls a function: with its credentials, and their own code."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self._table = deployment.stack.outputs["TableName"]
        self._key = deployment.stack.outputs["VaultKeyArn"]
        self._guard = deployment.stack.guards[name]
        self._dynamodb = client("dynamodb", self._guard.url)
        self._kms = client("kms", self._guard.url)

    def put(self, pk: str, sk: str) -> None:
        self._do(self._dynamodb.put_item, TableName=self._table, Item={"pk": {"S": pk}, "sk": {"S": sk}})

    def put_in_a_transaction(self, pk: str, sk: str) -> None:
        put = {"TableName": self._table, "Item": {"pk": {"S": pk}, "sk": {"S": sk}}}
        self._do(self._dynamodb.transact_write_items, TransactItems=[{"Put": put}])

    def put_in_a_batch(self, pk: str, sk: str) -> None:
        put = {"PutRequest": {"Item": {"pk": {"S": pk}, "sk": {"S": sk}}}}
        self._do(self._dynamodb.batch_write_item, RequestItems={self._table: [put]})

    def delete(self, pk: str, sk: str) -> None:
        self._do(self._dynamodb.delete_item, TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}})

    def scan(self) -> None:
        self._do(self._dynamodb.scan, TableName=self._table)

    def make_data_key(self, pk: str) -> bytes:
        context = {"pk": pk, "sk": "any"}
        made = self._do(self._kms.generate_data_key, KeyId=self._key, KeySpec="AES_256", EncryptionContext=context)
        return made["CiphertextBlob"]

    def unwrap(self, pk: str, wrapped: bytes) -> bytes:
        context = {"pk": pk, "sk": "any"}
        opened = self._do(self._kms.decrypt, KeyId=self._key, CiphertextBlob=wrapped, EncryptionContext=context)
        return opened["Plaintext"]

    def _do(self, what: Any, **arguments: Any) -> Any:
        try:
            return what(**arguments)
        finally:
            # The attempt was intended.
            self._guard.denied.clear()


def refused() -> Any:
    return pytest.raises(botocore.exceptions.ClientError, match="AccessDenied")


def test_the_proxy_cannot_write_a_delegation_by_any_way(unchanged_server: Deployment) -> None:
    proxy = Intruder(unchanged_server, "proxy")
    for way in (proxy.put, proxy.put_in_a_transaction, proxy.put_in_a_batch):
        with refused():
            way(AGENT, "DELEGATION#0197c5a0-0000-7000-8000-000000000001")
        with refused():
            way("DELEGATION#0197c5a0-0000-7000-8000-000000000003", "DELEGATION")


def test_the_proxy_cannot_grant_itself_a_session(unchanged_server: Deployment) -> None:
    with refused():
        Intruder(unchanged_server, "proxy").put_in_a_transaction(AGENT, "GRANT#0197c5a0#demo")


@pytest.mark.parametrize("name", ["token", "delegations", "admin", "console"])
def test_nobody_but_the_proxy_and_who_revokes_them_can_open_an_upstream_token(
    unchanged_server: Deployment, name: str
) -> None:
    wrapped = Intruder(unchanged_server, "grants").make_data_key(USER)
    with refused():
        Intruder(unchanged_server, name).unwrap(USER, wrapped)
    assert Intruder(unchanged_server, "proxy").unwrap(USER, wrapped)


@pytest.mark.parametrize("name", ["delegations", "grants", "proxy", "admin", "console"])
def test_nobody_but_the_token_function_can_open_a_signing_key(unchanged_server: Deployment, name: str) -> None:
    wrapped = Intruder(unchanged_server, "admin").make_data_key("SIGNING_KEYS")
    with refused():
        Intruder(unchanged_server, name).unwrap("SIGNING_KEYS", wrapped)
    assert Intruder(unchanged_server, "token").unwrap("SIGNING_KEYS", wrapped)


def test_a_signing_key_cannot_be_opened_as_something_else(unchanged_server: Deployment) -> None:
    """Not even by a function that may open that: the key itself was wrapped for its item."""
    wrapped = Intruder(unchanged_server, "admin").make_data_key("SIGNING_KEYS")
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidCiphertext"):
        Intruder(unchanged_server, "proxy").unwrap(USER, wrapped)


@pytest.mark.parametrize("name", ["token", "delegations", "grants", "proxy", "admin", "console"])
def test_nobody_rewrites_the_trail_or_reads_the_table_as_a_whole(unchanged_server: Deployment, name: str) -> None:
    intruder = Intruder(unchanged_server, name)
    with refused():
        intruder.delete("AUDIT#2026-11-25#a", "0197c5a0-0000-7000-8000-000000000004")
    with refused():
        intruder.scan()


@pytest.mark.parametrize("name", ["token", "delegations", "grants", "proxy", "console"])
def test_only_the_admin_function_changes_a_policy(unchanged_server: Deployment, name: str) -> None:
    for partition, item in (("POLICIES", "POLICY#0197c5a0"), ("CONTROL#0", "CONTROL")):
        with refused():
            Intruder(unchanged_server, name).put_in_a_transaction(partition, item)
