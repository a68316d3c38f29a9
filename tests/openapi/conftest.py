"""What reads `/openapi.json`: the document of a running server, and the clients that generators make of it.

The shared harness lives in `tests/e2e/harness`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.api import caller, done
from harness.secrets_ledger import LEDGER
from harness.server import Server
from tools import Described, run


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    folder = tmp_path_factory.mktemp("openapi")
    with Server.start(folder / "data") as server:
        answer = done(caller(server).get("/openapi.json"))
        file = folder / "openapi.json"
        file.write_bytes(answer.content)
        yield Described(server, json.loads(answer.content), file)
        assert "panicked" not in server.output()
    assert LEDGER.leaks_in(server.output()) == []


@pytest.fixture(scope="session")
def generated(described: Described, tmp_path_factory: pytest.TempPathFactory) -> Described:
    """The same, with the package `deputize_client`, which `openapi-python-client` makes of the document."""
    folder = tmp_path_factory.mktemp("python")
    ran = run(
        sys.executable, "-m", "openapi_python_client", "generate", "--path", described.file,
        "--output-path", folder / "deputize_client", "--meta", "none", "--fail-on-warning",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    sys.path.insert(0, str(folder))
    return described
