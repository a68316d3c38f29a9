"""The process is killed during its work, again and again. Nothing that was acknowledged may be lost."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from crash_workload import Workload
from harness.api import caller, done
from harness.server import Server

SEED = 8693
ROUNDS = 6
# The kill comes after a random number of acknowledged writes in a round, within these limits.
FEWEST_WRITES, MOST_WRITES = 20, 250
STORM_USERS = 3


def test_kill_dash_nine_loses_nothing_acknowledged_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Server.start(data_dir) as server:
        alice = caller(server, api_key=server.demo.ALICE_API_KEY)
        users = [
            done(
                alice.post("/api/v1/users", json={"email": f"{uuid4()}@example.com", "name": "Storm"})
            ).json()["id"]
            for _ in range(STORM_USERS)
        ]
        workload = Workload(SEED, users, server.demo)

    for round_number in range(1, ROUNDS + 1):
        with Server.start(data_dir) as server:
            workload.check(server)
            writes = workload.random.randint(FEWEST_WRITES, MOST_WRITES)
            workload.run_until_killed(server, after_writes=writes)
            print(f"round {round_number}: killed after {writes} acknowledged writes")

    with Server.start(data_dir) as server:
        workload.check(server)
    assert len(workload.audited_request_ids) >= ROUNDS
    assert workload.live_keys and workload.revoked_keys
