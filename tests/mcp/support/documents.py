"""Client ID Metadata Documents on an https server of this machine, with an authority of its own."""

from __future__ import annotations

import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# A port of this computer may be any (RFC 8252 section 7.3), so documents need none.
_REDIRECT_URIS = [
    f"http://{host}{path}" for host in ("127.0.0.1", "localhost") for path in ("/callback", "/oauth/callback")
]


class Documents:
    """`authority` is the file with the certificate that proves the server."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.pem"
        self._chain = folder / "server.pem"
        _certify(self.authority, self._chain)
        self._origin = ""

    def of(self, name: str) -> str:
        """The address of the document of the client of this name, which is its `client_id`."""
        return f"{self._origin}/client.json?name={name.replace(' ', '+')}"

    @contextmanager
    def serve(self) -> Iterator[Documents]:
        documents = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = documents._origin + self.path
                (name,) = parse_qs(urlsplit(address).query)["name"]
                body = json.dumps(
                    {
                        "client_id": address,
                        "client_name": name,
                        "redirect_uris": _REDIRECT_URIS,
                        "grant_types": ["authorization_code", "refresh_token"],
                        "response_types": ["code"],
                        "token_endpoint_auth_method": "none",
                    }
                ).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self._origin = f"https://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


def _certify(authority: Path, chain: Path) -> None:
    """Makes an authority, and a certificate of 127.0.0.1 with its key."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Desk CA", "Desk")
    )
    now = datetime.now(UTC)

    def certificate(subject: x509.Name, of: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    own = certificate(ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    servers = certificate(name, key).add_extension(address, False)
    authority.write_bytes(_pem(own.sign(ca_key, hashes.SHA256())))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private + _pem(servers.sign(ca_key, hashes.SHA256())))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
