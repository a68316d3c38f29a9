"""Who can be AWS to a function: those with a certificate of Amazon's, or whom an operator names."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from deployed import Deployed, m2m_token
from harness.gateway import Request, answer, rest_api

_LOOPBACK = "127.0.0.1"


@dataclass
class Impostor:
    """It has a certificate, of an authority of its own, and passes on to the real table what it is sent."""

    certificate: Path
    table_url: str
    received: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._listener = socket.create_server((_LOOPBACK, 0))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://{_LOOPBACK}:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        table = urlsplit(self.table_url)
        try:
            with self._tls.wrap_socket(connection, server_side=True) as client:
                with socket.create_connection((table.hostname, table.port)) as server:
                    threading.Thread(target=_copy, args=(server, client), daemon=True).start()
                    while some := client.recv(65536):
                        self.received += some
                        server.sendall(some)
        except OSError:
            # Whoever does not believe it hangs up.
            return

    def close(self) -> None:
        self._listener.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while some := source.recv(65536):
            sink.sendall(some)
    except OSError:
        return


def _certificate(path: Path) -> Path:
    """Self-signed, for the loopback address, with its key."""
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
    impostor.close()


def test_an_authority_that_the_machine_trusts_cannot_be_aws(deployed: Deployed, impostor: Impostor) -> None:
    trusted = {"SSL_CERT_FILE": str(impostor.certificate)}
    with deployed.start("admin", AWS_ENDPOINT_URL_DYNAMODB=impostor.url, **trusted) as function:
        refused = answer(function.invoke(rest_api(Request("GET", "/healthz"))))
    # Once all that it printed has been read.
    log = function.output.text()
    assert refused.status == 503
    assert not impostor.received
    # What an operator looks for is in the log, and there alone.
    assert "UnknownIssuer" in log
    assert b"Issuer" not in refused.body


def test_a_bundle_of_the_operators_is_trusted_in_place_of_amazons(deployed: Deployed, impostor: Impostor) -> None:
    named = {"AWS_CA_BUNDLE": str(impostor.certificate)}
    with deployed.start("token", AWS_ENDPOINT_URL_DYNAMODB=impostor.url, **named) as function:
        assert answer(function.invoke(rest_api(m2m_token(deployed.demo)))).status == 200
    assert b"DynamoDB_20120810.BatchGetItem" in impostor.received
