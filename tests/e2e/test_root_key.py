"""Changing the root key in the data directory, as docs/operations.md says."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import jwt
from harness.api import agent_token, caller, done, list_repos, request_token
from harness.server import Server, run_to_exit

# As in docs/operations.md, except the umask: the server itself must also make the file private.
CHANGE = "(umask 022; cat vault.key >> vault.previous.key) && rm vault.key"


def kid(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def test_a_changed_root_key_loses_nothing_and_the_old_one_can_go_afterwards(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    key, previous = data_dir / "vault.key", data_dir / "vault.previous.key"
    with Server.start(data_dir) as server:
        port, old = server.port, agent_token(server)
    first = key.read_bytes()

    for changes in (1, 2):
        subprocess.run(CHANGE, cwd=data_dir, shell=True, check=True)
        with Server.start(data_dir, port=port) as server:
            assert key.read_bytes() not in previous.read_bytes()
            assert previous.read_bytes().startswith(first) and previous.stat().st_size == 32 * changes
            assert stat.S_IMODE(previous.stat().st_mode) == 0o600
            done(list_repos(caller(server, token=old), server.demo))
            new = agent_token(server)
            assert kid(new) == kid(old)

    previous.unlink()
    with Server.start(data_dir, port=port) as server:
        for token in (old, new, agent_token(server)):
            done(list_repos(caller(server, token=token), server.demo))


def test_a_root_key_that_is_lost_is_named_in_the_log_and_old_tokens_go_on(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Server.start(data_dir) as server:
        port, old = server.port, agent_token(server)
    (data_dir / "vault.key").unlink()
    with Server.start(data_dir, port=port) as server:
        done(list_repos(caller(server, token=old), server.demo))
        assert request_token(server).status_code == 500
        alice = caller(server, api_key=server.demo.ALICE_API_KEY)
        done(alice.post("/api/v1/signing-keys"))
        assert kid(agent_token(server)) != kid(old)
    assert "sealed under the root key local:" in server.output()


def test_a_file_that_does_not_hold_whole_keys_stops_the_start(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "vault.previous.key").write_bytes(bytes(33))
    refused = run_to_exit("--port", "0", "--data-dir", data_dir)
    assert refused.code not in (0, 101)
    assert "vault.previous.key must hold 32 bytes for each key" in refused.stderr
