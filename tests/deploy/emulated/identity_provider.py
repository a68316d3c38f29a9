"""An OpenID provider at a private address, by HTTPS: the organization's own, whose certificate is of an authority of its
own. It signs everybody in who is named in the address, without a page, and knows the service by a client secret."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import secrets
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CLIENT_ID = "deputize"
PROVIDER_ID = "acme"
_DISCOVERY = "/.well-known/openid-configuration"


class IdentityProvider:
    """`ca_file` is the authority that proves it."""

    def __init__(self, address: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.secret = secrets.token_urlsafe(32)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._codes: dict[str, dict[str, str]] = {}
        self.ca_file = folder / "ca.pem"
        self._server = _Server(address, self)
        host = f"[{address}]" if ":" in address else address
        self.url = f"https://{host}:{self._server.server_address[1]}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(address, self.ca_file, folder / "provider.pem"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def trusted(self) -> dict[str, Any]:
        """As the operator trusts it."""
        sign_in = {"client_id": CLIENT_ID, "id": PROVIDER_ID, "name": "Acme"}
        return {"issuer": self.url, "link_by_email": "any", "provision": True, "sign_in": sign_in}

    def secrets(self) -> str:
        return json.dumps({PROVIDER_ID: self.secret})

    def consent(self, authorization_url: str, email: str) -> str:
        """The address to which the provider sends the browser of somebody whom it has signed in."""
        asked = {name: of[0] for name, of in parse_qs(urlsplit(authorization_url).query).items()}
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked | {"email": email}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.url})}"

    def logout_token(self, email: str) -> str:
        """OpenID Connect Back-Channel Logout, section 2.4."""
        event = "http://schemas.openid.net/event/backchannel-logout"
        claims = {"jti": secrets.token_hex(8), "events": {event: {}}, "sid": _sid(email), "sub": email}
        return self._signed(claims, "logout+jwt")

    def get(self, path: str) -> dict[str, Any]:
        if path == "/jwks":
            public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
            return {"keys": [public | {"kid": "1", "use": "sig", "alg": "ES256"}]}
        assert path == _DISCOVERY, path
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "end_session_endpoint": f"{self.url}/end",
            "jwks_uri": f"{self.url}/jwks",
            "authorization_response_iss_parameter_supported": True,
            "code_challenge_methods_supported": ["S256"],
        }

    def token(self, authorization: str, form: dict[str, str]) -> dict[str, Any]:
        presented = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        assert presented == f"{CLIENT_ID}:{self.secret}"
        asked = self._codes.pop(form["code"])
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        email = asked["email"]
        claims = {"sub": email, "nonce": asked["nonce"], "email": email, "email_verified": True, "sid": _sid(email)}
        return {"access_token": "none", "token_type": "Bearer", "id_token": self._signed(claims, "JWT")}

    def _signed(self, claims: dict[str, Any], kind: str) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 120} | claims
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "1", "typ": kind})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _sid(email: str) -> str:
    return f"session of {email}"


class _Server(ThreadingHTTPServer):
    def __init__(self, address: str, provider: IdentityProvider) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.provider = provider
        super().__init__((address, 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer(self.server.provider.get(urlsplit(self.path).path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: of[0] for name, of in parse_qs(body).items()}
        self._answer(self.server.provider.token(self.headers["authorization"], form))

    def _answer(self, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _certificate(address: str, ca_file: Path, file: Path) -> Path:
    """An authority, and a certificate of its for the address."""
    now = datetime.now(UTC)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named("Acme's authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = builder("Acme's authority", authority).add_extension(x509.BasicConstraints(True, 0), critical=True)
    ca_file.write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    leaf = builder("Acme's provider", key).add_extension(names, critical=False).sign(authority, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    return file
