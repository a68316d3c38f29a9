"""A function with a wrong configuration does not start, and names the wrong variable."""

from __future__ import annotations

import pytest
from deployed import Deployed
from harness.function import FUNCTIONS
from harness.runtime_api import RuntimeApi

every_function = pytest.mark.parametrize("name", FUNCTIONS)

_WRONG: dict[str, dict[str, str]] = {
    "no root key": {"DEPUTIZE_VAULT_KEY": ""},
    "no table": {"DEPUTIZE_TABLE": ""},
    "no address": {"DEPUTIZE_URL": ""},
    "an address that is none": {"DEPUTIZE_URL": "deputize.example.com"},
    "issuers that are no JSON": {"DEPUTIZE_TRUSTED_ISSUERS": "https://issuer.example.com"},
    "an origin that is none": {"DEPUTIZE_ALLOWED_ORIGINS": "https://app.example.com/path"},
    "a root key that is too short": {"DEPUTIZE_VAULT_KEY": "c2hvcnQ="},
    "a previous root key that is none": {"DEPUTIZE_VAULT_PREVIOUS_KEYS": "neither a key nor an ARN"},
    "a KMS key that is no ARN": {"DEPUTIZE_VAULT_KEY": "", "DEPUTIZE_VAULT_KMS_KEY": "alias/deputize"},
    "a log level that there is not": {"DEPUTIZE_LOG": "deputize=loud"},
    "a bundle of certificates that there is not": {"AWS_CA_BUNDLE": "/nowhere/bundle.pem"},
    "a bundle of one's own that there is not": {"DEPUTIZE_CA_BUNDLE": "/nowhere/bundle.pem"},
}


# Not every function reads all of them.
_OF_THE_VAULT = {name for name in _WRONG if "key" in name}
_OF_SOME = [
    (name, _WRONG[wrong]) for name in FUNCTIONS for wrong in _WRONG if wrong not in _OF_THE_VAULT or name != "delegations"
]
_BAD_SWITCHES = [
    ("proxy", {"DEPUTIZE_PRIVATE_UPSTREAMS": "true"}),
    ("grants", {"DEPUTIZE_PRIVATE_UPSTREAMS": "0.0.0.0/0"}),
    ("proxy", {"DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS": "true"}),
    ("grants", {"DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS": "false"}),
    ("proxy", {"DEPUTIZE_STREAM_RESPONSES": "maybe"}),
]


@pytest.mark.parametrize(("name", "variables"), _OF_SOME + _BAD_SWITCHES)
def test_a_missing_or_bad_variable_stops_a_function_and_is_named(
    deployed: Deployed, name: str, variables: dict[str, str]
) -> None:
    # If several are set, the last one is wrong.
    wrong = list(variables)[-1]
    with deployed.start(name, **variables) as function:
        assert function.exit_code() == 1
        printed, told = function.output.text(), function.api.init_error
    assert wrong in printed
    assert told and wrong in told["errorMessage"]
    assert deployed.environment["DEPUTIZE_VAULT_KEY"] not in printed + str(told)
    assert not function.api.first_poll


@every_function
def test_a_function_takes_events_without_having_asked_anything_of_the_network(
    deployed: Deployed, name: str
) -> None:
    """A cold start waits for nothing. A table or KMS that cannot be reached leads to an answer: 503."""
    nobody = "http://127.0.0.1:9"
    key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    unreachable = {
        "AWS_ENDPOINT_URL_DYNAMODB": nobody,
        "AWS_ENDPOINT_URL_KMS": nobody,
        "DEPUTIZE_VAULT_KEY": "",
        "DEPUTIZE_VAULT_KMS_KEY": key,
    }
    with deployed.start(name, **unreachable) as function:
        function.api.wait_for_first_poll()


def test_the_runtime_api_of_these_tests_knows_a_poll_from_none() -> None:
    api = RuntimeApi()
    assert not api.first_poll
    api.close()
