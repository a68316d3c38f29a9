"""Clients that sign their person in. One server and one browser serve all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.browser import Browser
from harness.server import Server

from support.documents import Documents
from support.person import Person


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documents]:
    with Documents(tmp_path_factory.mktemp("documents")).serve() as documents:
        yield documents


@pytest.fixture(scope="session")
def server(documents: Documents, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DEPUTIZE_CA_BUNDLE": str(documents.authority)}
    with Server.start(tmp_path_factory.mktemp("sign-in") / "data", environment=environment) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def bob(server: Server, browser: Browser) -> Iterator[Person]:
    """Bob at his desk. When he leaves, nothing is allowed any more."""
    browser.forget()
    bob = Person(server, browser)
    yield bob
    bob.revoke_all()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
