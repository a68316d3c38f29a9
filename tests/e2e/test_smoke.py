"""`deploy/smoke` against the local server: everything that it checks of a deployment is true here too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.server import Server

SMOKE = Path(__file__).resolve().parents[2] / "deploy" / "smoke"


def smoke(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SMOKE, *arguments], capture_output=True, text=True, check=False, env={})


def test_all_is_right_and_no_secret_is_shown(server: Server) -> None:
    said = smoke(server.url, "--api-key", server.demo.ALICE_API_KEY)
    assert said.returncode == 0, said.stdout + said.stderr
    # The demo's server has no streams for sessions.
    assert said.stdout.splitlines()[-1] == "0 failed, 1 skipped"
    assert server.demo.ALICE_API_KEY not in said.stdout


def test_without_a_key_it_asks_what_anybody_may(server: Server) -> None:
    said = smoke(server.url)
    assert said.returncode == 0, said.stdout
    assert said.stdout.splitlines()[-1] == "0 failed, 0 skipped"


def test_a_key_that_is_no_admins_is_said_to_be_none(server: Server) -> None:
    said = smoke(server.url, "--api-key", server.demo.BOB_API_KEY)
    assert said.returncode == 1
    assert "FAIL  the key is an admin's: the key's role is 'user', and should be 'admin'" in said.stdout


def test_what_is_no_address_is_asked_wrongly() -> None:
    assert smoke("deputize.example.com").returncode == 2
