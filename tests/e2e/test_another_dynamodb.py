"""`--dynamodb-url`: whose credentials and region it takes, and what its failures say."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from harness.relay import Relay
from harness.server import READY_LINE, Exit, run_to_exit

NOTHING_IS_SET = {
    name: ""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE")
} | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}
OURS = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIAOURS", "AWS_SECRET_ACCESS_KEY": "not-shown-anywhere"}


def refused(tmp_path: Path, url: str, environment: dict[str, str] = {}) -> str:  # noqa: B006
    """What a start with this address says before it ends. It names the address, and says nothing else."""
    ended: Exit = run_to_exit(
        "--port", "0", "--data-dir", tmp_path / "data", "--dynamodb-url", url,
        environment=NOTHING_IS_SET | environment,
    )  # fmt: skip
    assert ended.code not in (0, 101), ended
    assert READY_LINE not in ended.stdout
    lines = [line for line in ended.stderr.splitlines() if line.startswith("deputize: ")]
    assert len(lines) == 1, ended.stderr
    assert "not-shown-anywhere" not in ended.stderr
    return lines[0].removeprefix("deputize: ")


def answering(status: int, body: object, seen: list[dict[str, str]] | None = None) -> Relay:
    def answer(headers: dict[str, str], _: bytes) -> tuple[int, dict[str, str], bytes]:
        if seen is not None:
            seen.append({name.lower(): value for name, value in headers.items()})
        text = body if isinstance(body, str) else json.dumps(body)
        return status, {"content-type": "application/x-amz-json-1.0"}, text.encode()

    return Relay("http://127.0.0.1:9", answer)


def error(code: str, message: str) -> dict[str, str]:
    return {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}


def test_where_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        said = refused(tmp_path, url)
    assert said.startswith(f"--dynamodb-url {url}/: it cannot be reached (")
    assert "refused" in said and said.endswith("is a DynamoDB running there, and is the address right?")


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    said = refused(tmp_path, "http://dynamodb.invalid:8000")
    assert said.startswith("--dynamodb-url http://dynamodb.invalid:8000/: it cannot be reached (")


@pytest.mark.parametrize(
    ("url", "why"),
    [("localhost:8000", "it must begin with http:// or https://"), ("ftp://localhost", "it must begin with"),
     ("8000", "it is no URL"), ("", "it is no URL")],
)  # fmt: skip
def test_what_is_no_address(tmp_path: Path, url: str, why: str) -> None:
    said = refused(tmp_path, url)
    assert said.startswith(f"--dynamodb-url {url}: ") and why in said


def test_credentials_in_the_address_are_refused_and_not_shown(tmp_path: Path) -> None:
    said = refused(tmp_path, "http://me:not-shown-anywhere@127.0.0.1:8000")
    assert "AWS_ACCESS_KEY_ID" in said


def test_credentials_that_are_refused(tmp_path: Path) -> None:
    code, message = "UnrecognizedClientException", "The security token included in the request is invalid."
    relay = answering(400, error(code, message))
    said = refused(tmp_path, relay.url, OURS)
    assert said == (
        f"--dynamodb-url {relay.url}/: it refuses: {code}: {message}; "
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and what they are allowed"
    )


def test_an_answer_that_is_not_dynamodbs(tmp_path: Path) -> None:
    """moto answers so to a region that it does not know; a web server has no such endpoint."""
    for status, body in ((404, "<html>Not here</html>"), (500, "Internal Server Error"), (200, "<html>Hello</html>")):
        relay = answering(status, body)
        said = refused(tmp_path, relay.url)
        assert said.startswith(f"--dynamodb-url {relay.url}/: it")
        assert "address" in said, said
        if status != 200:
            assert f"HTTP {status}" in said and "local (AWS_REGION)" in said, said


def test_a_table_that_is_missing_and_cannot_be_made(tmp_path: Path) -> None:
    def answer(headers: dict[str, str], _: bytes) -> tuple[int, dict[str, str], bytes]:
        target = {name.lower(): value for name, value in headers.items()}["x-amz-target"]
        refusal = (
            error("ResourceNotFoundException", "Requested resource not found")
            if target.endswith("DescribeTable")
            else error("AccessDeniedException", "not authorized to perform: dynamodb:CreateTable")
        )
        return 400, {"content-type": "application/x-amz-json-1.0"}, json.dumps(refusal).encode()

    relay = Relay("http://127.0.0.1:9", answer)
    said = refused(tmp_path, relay.url, OURS)
    assert said.startswith(
        f'--dynamodb-url {relay.url}/: there is no table "deputize" in region eu-central-1, and it could not be made: '
    )
    assert "AccessDeniedException" in said and said.endswith("make it, or allow dynamodb:CreateTable")


def test_the_environments_region_and_credentials_sign_the_requests(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    relay = answering(400, error("AccessDeniedException", "no"), seen)
    refused(tmp_path, relay.url, OURS)
    assert "Credential=AKIAOURS/" in seen[0]["authorization"]
    assert "/eu-central-1/dynamodb/aws4_request" in seen[0]["authorization"]


def test_a_stand_in_needs_neither(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    relay = answering(400, error("AccessDeniedException", "no"), seen)
    refused(tmp_path, relay.url)
    assert "Credential=local/" in seen[0]["authorization"]
    assert "/local/dynamodb/aws4_request" in seen[0]["authorization"]


def test_aws_itself_needs_a_region_and_credentials(tmp_path: Path) -> None:
    url = "https://127.0.0.1:9"
    said = refused(tmp_path, url)
    assert said == f"--dynamodb-url {url}/: the environment names no region; set AWS_REGION"
    said = refused(tmp_path, url, {"AWS_REGION": "eu-central-1"})
    assert said.startswith(f"--dynamodb-url {url}/: the environment has no credentials; set AWS_ACCESS_KEY_ID")
