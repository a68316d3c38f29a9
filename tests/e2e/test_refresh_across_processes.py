"""Three processes, one table, one expired token, and a hundred simultaneous calls. The authorization server ends a
session whose refresh token it sees twice, so it must see it only once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx
from harness.api import all_pages, caller, obo_token
from harness.connecting import acting_as, connect_until_expired, grant, register_chat, whoami
from harness.deployment import deployment
from harness.protected import Protected

PROCESSES = 3
CALLS = 100


def test_a_hundred_calls_over_three_processes_refresh_an_expired_token_once_and_all_succeed(
    tmp_path: Path, protected: Protected
) -> None:
    with deployment(tmp_path, PROCESSES) as processes:
        first = processes[0]
        demo = first.demo
        alice = caller(first, api_key=demo.ALICE_API_KEY)
        register_chat(first, protected)
        connect_until_expired(alice, "alice", protected)
        grant(alice, demo.AGENT_ACCOUNT_ID, shared=True)
        credentials = [
            {"api_key": demo.ALICE_API_KEY},
            {"token": obo_token(first, demo.USER_ID)},
            {"token": obo_token(first, demo.BOB_ID)},
        ]
        callers = [caller(process, **credential) for process in processes for credential in credentials]
        assert protected.families("alice") == [(True, 0)]

        at_once = Barrier(CALLS)

        def call(number: int) -> httpx.Response:
            at_once.wait()
            return whoami(callers[number % len(callers)])

        with ThreadPoolExecutor(CALLS) as threads:
            answers = list(threads.map(call, range(CALLS)))

        assert Counter(answer.status_code for answer in answers) == {200: CALLS}, answers[0].text
        assert {acting_as(answer) for answer in answers} == {"alice"}
        assert protected.refreshes() == {"ok": 1}
        assert protected.families("alice") == [(True, 1)]
        events = all_pages(alice, "/api/v1/audit-events", user_id=demo.USER_ID)
        refreshes = [event for event in events if event["action"] == "connection.refresh"]
        assert [event["outcome"] for event in refreshes] == ["allowed"]

        # The family is alive: any process can refresh the new token.
        protected.change(refuse_issued_tokens=True)
        assert {acting_as(whoami(client)) for client in callers} == {"alice"}
        assert protected.refreshes() == {"ok": 2}
        assert protected.families("alice") == [(True, 2)]


def test_many_users_sessions_are_refreshed_at_once_each_by_one_process(
    tmp_path: Path, protected: Protected
) -> None:
    with deployment(tmp_path, PROCESSES) as processes:
        first = processes[0]
        demo = first.demo
        register_chat(first, protected)
        keys = {"alice": demo.ALICE_API_KEY, "bob": demo.BOB_API_KEY, "carol": demo.CAROL_API_KEY}
        for name, key in keys.items():
            connect_until_expired(caller(first, api_key=key), name, protected)
        calls = [(name, caller(process, api_key=key)) for process in processes for name, key in keys.items()]
        at_once = Barrier(len(calls) * 3)

        def call(named: tuple[str, httpx.Client]) -> bool:
            at_once.wait()
            name, client = named
            return acting_as(whoami(client)) == name

        with ThreadPoolExecutor(at_once.parties) as threads:
            assert all(threads.map(call, calls * 3))
        assert protected.refreshes() == {"ok": len(keys)}
        assert [protected.families(name) for name in keys] == [[(True, 1)]] * len(keys)
