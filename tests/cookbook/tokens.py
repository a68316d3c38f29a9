"""Verifies agent tokens like a resource server: with the published keys."""

from __future__ import annotations

from typing import Any

import jwt
from harness.api import caller, done
from harness.server import Server


def verified_claims(server: Server, token: str) -> dict[str, Any]:
    """The claims, after checking signature, algorithm, type, issuer and expiry (RFC 9068 section 4)."""
    anonymous = caller(server)
    metadata = done(anonymous.get("/.well-known/oauth-authorization-server")).json()
    published = jwt.PyJWKSet.from_dict(done(anonymous.get(metadata["jwks_uri"])).json())
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"].lower()) == ("ES256", "at+jwt")
    return jwt.decode(
        token,
        published[header["kid"]],
        algorithms=["ES256"],
        issuer=metadata["issuer"],
        options={
            "require": ["iss", "aud", "sub", "client_id", "jti", "iat", "exp", "scope"],
            # The proxy's audience is not published. That the proxy accepts the token proves it.
            "verify_aud": False,
        },
    )
