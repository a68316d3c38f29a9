"""`deputize bootstrap`: an operator makes a deployment's first admin and signing key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from harness.api import caller, done
from harness.aws import Operator, create_table
from harness.deployment import PUBLIC_URL, table
from harness.server import START_DEADLINE_SECONDS, Server

EMAIL = ("--admin-email", "alice@example.com")


@pytest.fixture
def dynamodb() -> Iterator[str]:
    with table() as address:
        yield address


@pytest.fixture
def operator(dynamodb: str) -> Operator:
    """An operator whose stack was just created."""
    create_table(dynamodb)
    return Operator(dynamodb)


@contextmanager
def deployed(operator: Operator, data_dir: Path) -> Iterator[Server]:
    """A server on the deployment's table, with its root key."""
    data_dir.mkdir(mode=0o700)
    (data_dir / "vault.key").write_bytes(operator.root_key)
    address = operator.environment["AWS_ENDPOINT_URL"]
    flags = ["--no-demo", "--dynamodb-url", address, "--url", PUBLIC_URL]
    with Server.start(data_dir, flags=flags) as server:
        yield server


def me(server: Server, key: str) -> httpx.Response:
    return caller(server, api_key=key.strip()).get("/api/v1/me")


def test_the_admin_whose_key_is_printed_can_begin(operator: Operator, tmp_path: Path) -> None:
    made = operator.bootstrap(*EMAIL)
    assert made.code == 0, made.stderr
    assert made.stdout.count("\n") == 1 and made.stdout.startswith("rl_"), "nothing but the key"
    assert made.stdout.strip() not in made.stderr
    with deployed(operator, tmp_path / "data") as server:
        alice = done(me(server, made.stdout)).json()
        assert (alice["email"], alice["role"]) == ("alice@example.com", "admin")
        # The signing key opens under the operator's root key, so a token can be issued and used.
        admin = caller(server, api_key=made.stdout.strip())
        bot = done(admin.post("/api/v1/agent-accounts", json={"name": "Bot"})).json()
        form = {
            "grant_type": "client_credentials",
            "client_id": bot["id"],
            "client_secret": bot["client_secret"],
        }
        assert caller(server).post("/api/v1/oauth/token", data=form).status_code == 200


def test_run_again_it_says_that_it_is_done(operator: Operator) -> None:
    assert operator.bootstrap(*EMAIL).code == 0
    again = operator.bootstrap("--admin-email", "Alice@Example.com")
    assert (again.code, again.stdout) == (0, "")
    assert "Nothing to do" in again.stderr and "--new-key" in again.stderr


def test_a_lost_key_is_replaced(operator: Operator, tmp_path: Path) -> None:
    lost = operator.bootstrap(*EMAIL).stdout
    new = operator.bootstrap(*EMAIL, "--new-key").stdout
    assert new.startswith("rl_") and new != lost
    with deployed(operator, tmp_path / "data") as server:
        assert done(me(server, new)).json()["id"] == done(me(server, lost)).json()["id"]


def test_of_two_at_once_one_prints_a_key(operator: Operator) -> None:
    runs = [operator.start(*EMAIL) for _ in range(4)]
    ended = [run.communicate(timeout=START_DEADLINE_SECONDS) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, [stderr for _, stderr in ended]
    assert sum(bool(stdout) for stdout, _ in ended) == 1


def test_killed_at_any_time_it_can_be_run_again(operator: Operator, tmp_path: Path) -> None:
    # Wherever it had stopped: existing things stay as they are, and missing ones are made.
    for _ in range(3):
        run = operator.start(*EMAIL)
        run.kill()
        run.communicate(timeout=START_DEADLINE_SECONDS)
    key = operator.bootstrap(*EMAIL, "--new-key").stdout
    with deployed(operator, tmp_path / "data") as server:
        assert done(me(server, key)).json()["role"] == "admin"


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (("--table", "other"), {}, "there is no table other in eu-central-1: deploy the stack first"),
        ((), {"DEPUTIZE_TABLE": ""}, "which table? give --table, or set DEPUTIZE_TABLE"),
        ((), {"DEPUTIZE_VAULT_KEY": ""}, "DEPUTIZE_VAULT_KMS_KEY and DEPUTIZE_VAULT_KEY must be set"),
        (("--kms-key", "alias/deputize"), {}, "DEPUTIZE_VAULT_KMS_KEY must be the ARN of a KMS key"),
        ((), {"AWS_REGION": ""}, "in which region? set AWS_REGION"),
        ((), {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "DynamoDB in eu-central-1 cannot be asked"),
        (("--table", "theirs"), {}, "the table theirs is another's: Deputize's keys are pk and sk"),
    ],
)
def test_what_is_missing_is_said(
    dynamodb: str,
    operator: Operator,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    says: str,
) -> None:
    create_table(dynamodb, name="theirs", partition="id")
    ended = operator.bootstrap(*EMAIL, *arguments, **environment)
    assert (ended.code, ended.stdout) == (1, "")
    assert says in ended.stderr


def test_an_address_that_is_none_is_refused(operator: Operator) -> None:
    ended = operator.bootstrap("--admin-email", "alice")
    assert (ended.code, ended.stdout) == (1, "")
    assert "alice is not an email address" in ended.stderr
