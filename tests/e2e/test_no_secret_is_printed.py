"""Runs last (see `conftest.py`): no server of this run has printed a secret that it received or sent."""

from __future__ import annotations

from pathlib import Path

from harness.api import caller, list_repos, obo_token, request_token
from harness.secrets_ledger import LEDGER, SecretsLedger
from harness.server import Server

SQLITE_MAGIC = b"SQLite format 3\0"


def test_a_printed_secret_would_be_found() -> None:
    """The check itself: it finds each kind of secret, complete or in part, known or recognized only by its form."""
    ledger = SecretsLedger()
    signature = "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
    token = f"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.{signature}"
    ledger.add("access_token", token)
    assert ledger.leaks_in("nothing of that kind") == []
    assert ledger.leaks_in(f"… {token} …") == [
        "access_token",
        "signature of access_token",
        "something that looks like a JWT",
    ]
    assert ledger.leaks_in(f"… {signature} …") == ["signature of access_token"]
    assert ledger.leaks_in("key=rl_" + "a" * 40) == ["something that looks like an API key"]
    assert ledger.leaks_in("secret: dps_" + "a" * 40) == ["something that looks like a client secret"]
    ledger.add_key("vault.key", bytes(range(32)))
    assert ledger.leaks_in("root: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f") == ["vault.key"]
    assert ledger.leaks_in("root: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") == ["vault.key"]
    ledger.add_callback("http://127.0.0.1/api/v1/oauth/callback?code=splxlobezqqybys6wxsbia&state=af0ifjsldkj")
    assert ledger.leaks_in("GET /callback?code=splxlobezqqybys6wxsbia") == ["code"]


def test_no_secret_is_printed_even_when_logging_everything_of_ours(tmp_path: Path) -> None:
    with Server.start(tmp_path / "data") as server:
        demo = server.demo
        list_repos(caller(server, token=obo_token(server, demo.USER_ID)), demo)
        list_repos(caller(server, api_key=demo.ALICE_API_KEY), demo)
        list_repos(caller(server, token="broken." + demo.USER_TOKEN), demo)
        request_token(server, client_secret=demo.API_KEY)
        request_token(server, actor_token=demo.CLIENT_SECRET, actor_token_type="nonsense")
        caller(server).get(f"/api/v1/me?access_token={demo.USER_TOKEN}")
    assert server.output().count("\n") > 10, "it does log at that level"
    assert LEDGER.leaks_in(server.output()) == []


def test_the_store_holds_api_keys_and_client_secrets_only_as_hashes(server: Server) -> None:
    demo = server.demo
    tables = [file for file in server.data_dir.rglob("*") if file.is_file() and _is_sqlite(file)]
    assert tables, "the data directory holds the table"
    for file in tables:
        stored = file.read_bytes()
        for name in ("CLIENT_SECRET", "ALICE_API_KEY", "BOB_API_KEY", "CAROL_API_KEY", "USER_TOKEN"):
            assert demo[name].encode() not in stored, f"{name} in {file.name}"


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC or file.name.endswith("-wal")


def test_nothing_printed_during_the_whole_run_contains_a_secret() -> None:
    assert len(LEDGER) > 0
    assert LEDGER.printed() != ""
    assert LEDGER.leaks_in(LEDGER.printed()) == []
