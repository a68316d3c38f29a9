"""One (agent, server) pair never has two shared grants, however many requests race.

This test uses HTTP and the demo's two connected users. A Rust test does the same with twenty grantors, since each
grantor needs an OAuth session.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
from harness.api import all_pages, caller, create_grant, grants_path
from harness.demo_env import DemoEnv
from harness.server import Server

SEED = 20260728
REQUESTS = 200
AT_A_TIME = 16


def shared_grantors(client: httpx.Client, demo: DemoEnv) -> list[str]:
    listed = all_pages(client, grants_path(demo), server_id=demo.SLACK_SERVER_ID)
    return [grant["grantor_user_id"] for grant in listed if grant["shared"] and grant["is_active"]]


def test_two_hundred_racing_creations_and_toggles_leave_at_most_one_shared_grant(
    server: Server, demo: DemoEnv
) -> None:
    grantors = [caller(server, api_key=key) for key in (demo.ALICE_API_KEY, demo.CAROL_API_KEY)]
    bob = caller(server, api_key=demo.BOB_API_KEY)  # sees only the shared grants
    for grantor in grantors:
        create_grant(grantor, demo)
    choices = random.Random(SEED)
    body = {"server_id": demo.SLACK_SERVER_ID}
    requests = [
        (choices.choice(grantors), choices.choice(("create personal", "create shared", "toggle", "toggle")))
        for _ in range(REQUESTS)
    ]

    def send(request: tuple[httpx.Client, str]) -> int:
        grantor, what = request
        if what == "toggle":
            return grantor.post(f"{grants_path(demo)}/toggle", json=body).status_code
        shared = what == "create shared"
        return grantor.post(grants_path(demo), json=body | {"shared": shared}).status_code

    finished = Event()

    def watch() -> tuple[int, list[list[str]]]:
        looks, wrong = 0, []
        while not finished.is_set():
            seen = shared_grantors(bob, demo)
            looks += 1
            if len(seen) > 1:
                wrong.append(seen)
        return looks, wrong

    with ThreadPoolExecutor(AT_A_TIME + 1) as threads:
        watching = threads.submit(watch)
        try:
            statuses = list(threads.map(send, requests))
        finally:
            finished.set()
        looks, wrong = watching.result()

    # A toggle may find its grant revoked by the other user's sharing (404). A lost race is at worst a 409.
    assert set(statuses) <= {200, 201, 404, 409}, sorted(set(statuses))
    assert sum(status < 300 for status in statuses) >= REQUESTS // 4, "the race took place"
    assert looks > 1
    assert wrong == []
    views = [shared_grantors(client, demo) for client in (*grantors, bob)]
    assert views[0] == views[1] == views[2], "everybody sees the same shared grant"
    assert len(views[0]) <= 1


def test_the_winner_of_racing_promotions_is_the_one_whose_credentials_are_used(
    server: Server, demo: DemoEnv
) -> None:
    grantors = [caller(server, api_key=key) for key in (demo.ALICE_API_KEY, demo.CAROL_API_KEY)]
    for _ in range(10):
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda grantor: create_grant(grantor, demo, shared=True), grantors))
        assert all(answer["shared"] for answer in answers)
        (winner,) = shared_grantors(grantors[0], demo)
        loser = grantors[1] if winner == demo.USER_ID else grantors[0]
        own = [
            grant
            for grant in all_pages(loser, grants_path(demo), server_id=demo.SLACK_SERVER_ID)
            if grant["is_active"] and grant["grantor_user_id"] != winner
        ]
        assert own == [], "promotion revoked the other grantor's grant"
