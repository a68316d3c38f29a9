"""Which servers a function accepts as AWS: those with a certificate of Amazon's, or of an authority that an operator
names."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from deployed import Deployed, m2m_token
from harness.gateway import Request, answer, rest_api
from harness.relay import Answer, Headers, Relay, target

_LOOPBACK = "127.0.0.1"


class Impostor:
    """A server with a certificate of its own authority. It passes requests on to the real table."""

    def __init__(self, certificate: Path, table_url: str) -> None:
        self.certificate = certificate
        self.received: list[str] = []
        self._relay = Relay(table_url, self._answer, certificate)
        self.url = self._relay.url

    @property
    def is_believed(self) -> bool:
        """Whether any client connected and did not disconnect when it saw the certificate."""
        return self._relay.connections > 0

    def _answer(self, headers: Headers, body: bytes) -> Answer:
        self.received.append(target(headers))
        return self._relay.forward(headers, body)

    def stop(self) -> None:
        self._relay.stop()


def _certificate(path: Path) -> Path:
    """A self-signed certificate for the loopback address, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Not Amazon")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(_LOOPBACK))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(
        made.public_bytes(encoding) + key.private_bytes(encoding, private, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def impostor(deployed: Deployed, tmp_path: Path) -> Iterator[Impostor]:
    impostor = Impostor(_certificate(tmp_path / "impostor.pem"), deployed.environment["AWS_ENDPOINT_URL_DYNAMODB"])
    yield impostor
    impostor.stop()


def test_an_authority_that_the_machine_trusts_cannot_be_aws(deployed: Deployed, impostor: Impostor) -> None:
    trusted = {"SSL_CERT_FILE": str(impostor.certificate)}
    with deployed.start("admin", AWS_ENDPOINT_URL_DYNAMODB=impostor.url, **trusted) as function:
        refused = answer(function.invoke(rest_api(Request("GET", "/healthz"))))
    # After all of its output has been read.
    log = function.output.text()
    assert refused.status == 503
    assert not impostor.is_believed and not impostor.received
    # The log has what an operator needs. The answer does not.
    assert "UnknownIssuer" in log
    assert b"Issuer" not in refused.body


def test_a_bundle_of_the_operators_is_trusted_in_place_of_amazons(deployed: Deployed, impostor: Impostor) -> None:
    named = {"AWS_CA_BUNDLE": str(impostor.certificate)}
    with deployed.start("token", AWS_ENDPOINT_URL_DYNAMODB=impostor.url, **named) as function:
        assert answer(function.invoke(rest_api(m2m_token(deployed.demo)))).status == 200
    assert "DynamoDB_20120810.BatchGetItem" in impostor.received
