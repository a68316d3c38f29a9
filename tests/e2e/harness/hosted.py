"""The hosts of clients that run in a cloud: they take a browser back at a fixed address by https, and publish documents
about themselves."""

from __future__ import annotations

import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.secrets_ledger import LEDGER
from harness.waiting import wait_until

_LOOPBACK = "127.0.0.1"
_PAGE = b"<!doctype html><title>The client</title><p id=there>You can close this page."


class Hosts:
    """One https server of this machine. `browsers` stand in for hosts of the internet with it; the service reads its
    documents at `https://127.0.0.1:…`, and believes it by `authority`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.authority = directory / "authority.pem"
        self.documents: dict[str, Any] = {}
        """What it publishes, by path."""
        self.asked: list[str] = []
        """The addresses that were asked for, with the host that was meant."""
        hosts = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hosts.asked.append(f"https://{self.headers['host']}{self.path}")
                document = hosts.documents.get(self.path)
                body = _PAGE if document is None else json.dumps(document).encode()
                self.send_response(200)
                self.send_header("content-type", "text/html" if document is None else "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((_LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(directory, self.authority))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def url(self, path: str) -> str:
        """Where the service finds a document."""
        return f"https://{_LOOPBACK}:{self.port}{path}"

    def came_back(self, redirect_uri: str) -> str:
        """The address by which a browser came back to a client."""
        start = f"{redirect_uri}?"
        found = wait_until(
            f"a browser comes back to {redirect_uri}",
            lambda: next((url for url in self.asked if url.startswith(start)), None),
        )
        self.asked.remove(found)
        LEDGER.add_callback(found)
        return found

    def __enter__(self) -> Hosts:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _certificate(directory: Path, authority: Path) -> Path:
    """A certificate for this machine with its key, by an authority of its own."""
    now = datetime.now(UTC)

    def made(name: str, by: str, key: Any, signed_by: Any, extension: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, by)]),
            subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=1),
        )
        return builder.add_extension(extension, critical=True).sign(signed_by, hashes.SHA256())

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    is_authority = x509.BasicConstraints(ca=True, path_length=0)
    root = made("tests", "tests", authority_key, authority_key, is_authority)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(_LOOPBACK))])
    leaf = made(_LOOPBACK, "tests", key, authority_key, names)
    pem = serialization.Encoding.PEM
    authority.write_bytes(root.public_bytes(pem))
    chain = directory / "host.pem"
    clear = serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, clear)
    chain.write_bytes(leaf.public_bytes(pem) + private)
    return chain
