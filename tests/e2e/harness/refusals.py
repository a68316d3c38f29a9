"""The form of every refusal, at every endpoint."""

from __future__ import annotations

import httpx


def assert_oauth_refusal(
    response: httpx.Response, status: int, error: str, description: str, *, reason: str
) -> None:
    """RFC 6749 section 5.2, plus the `detail` that the cookbook's clients read."""
    _assert_refusal(response, status, error, description, detail=f"{error}: {description}", reason=reason)
    assert response.headers["cache-control"] == "no-store"


def assert_refusal(
    response: httpx.Response, status: int, error: str, description: str, *, reason: str, **further: object
) -> None:
    """A refusal outside the token endpoint: `detail` is the description itself."""
    _assert_refusal(response, status, error, description, detail=description, reason=reason, **further)


def _assert_refusal(
    response: httpx.Response, status: int, error: str, description: str, **further: object
) -> None:
    assert (response.status_code, response.json()) == (
        status,
        {"error": error, "error_description": description, **further},
    )
    if status == httpx.codes.UNAUTHORIZED:
        assert response.headers["www-authenticate"]
