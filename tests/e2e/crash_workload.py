"""A stream of writes that knows at every moment what the server has acknowledged.

Each `Fact` is one thing in the store that one thread changes, one request at a time. If the server dies during a
request, that request may or may not have been carried out, but never partly. Everything that was acknowledged
before must still be there.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from harness.api import (
    USER_ID_TYPE,
    agent_token,
    all_pages,
    caller,
    delegations_path,
    done,
    grants_path,
    list_repos,
    request_token,
)
from harness.demo_env import DemoEnv
from harness.server import Server

_NOTHING = object()
_ROUND_DEADLINE_SECONDS = 30
# Fewer than a user may have, since keys also count whose creation was never answered.
_MOST_LIVE_KEYS = 50


class Acknowledgements:
    """Counts answered writes, so that the kill can come after a certain one."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def add(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for(self, count: int, deadline_seconds: float) -> None:
        with self._changed:
            reached = self._changed.wait_for(lambda: self._count >= count, deadline_seconds)
            assert reached, f"only {self._count} of {count} writes were acknowledged in {deadline_seconds} s"


@dataclass
class Fact:
    """A value in the store: the last acknowledged one, and the one that an open request would make."""

    name: str
    acknowledged: Any
    requested: Any = _NOTHING

    @contextmanager
    def becoming(self, value: Any) -> Iterator[None]:
        """Around the request that changes the fact. After an exception it is not known whether it was carried out."""
        self.requested = value
        yield
        self.acknowledged, self.requested = value, _NOTHING

    def check(self, found: Any) -> None:
        """Compares with the restarted server's answer, and goes on from there."""
        possible = [self.acknowledged] + ([] if self.requested is _NOTHING else [self.requested])
        assert found in possible, f"{self.name}: found {found!r}, acknowledged or requested were {possible!r}"
        self.acknowledged, self.requested = found, _NOTHING


@dataclass
class Workload:
    """Everything that the rounds have written so far. It outlives the servers."""

    seed: int
    users: list[str]
    demo: DemoEnv
    random: random.Random = field(init=False)
    user_active: dict[str, Fact] = field(init=False)
    delegated: dict[str, Fact] = field(init=False)
    grants: Fact = field(init=False)
    live_keys: dict[str, str] = field(default_factory=dict)
    revoked_keys: dict[str, str] = field(default_factory=dict)
    key_being_revoked: str | None = None
    unanswered_key_creations: int = 0
    audited_request_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.user_active = {user: Fact(f"user {user} is active", True) for user in self.users}
        self.delegated = {name: Fact(f"{name} delegates", True) for name in ("BOB", "CAROL")}
        # The grant of each of the two connected users: "none", "personal" or "shared".
        self.grants = Fact("grants", {"ALICE": "none", "CAROL": "none"})

    def run_until_killed(self, server: Server, *, after_writes: int) -> None:
        """Writes from all threads at the same time, and kills the server after this many acknowledgements."""
        acknowledgements = Acknowledgements()
        # Each writer has its own random numbers, so that the seed decides what it does.
        streams = [
            (write, random.Random(self.random.random()))
            for write in (
                self._disable_and_enable_users,
                self._delegate_and_revoke,
                self._grant_and_toggle,
                self._create_and_revoke_keys,
                self._call_tools,
                self._call_tools,
            )
        ]
        failures: list[BaseException] = []

        def write_until_killed(write: Callable[..., Iterator[None]], choices: random.Random) -> None:
            try:
                for _ in write(server, choices):
                    acknowledgements.add()
            except httpx.TransportError:
                return
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=write_until_killed, args=stream) for stream in streams]
        for thread in threads:
            thread.start()
        try:
            acknowledgements.wait_for(after_writes, _ROUND_DEADLINE_SECONDS)
        finally:
            server.kill()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]

    def _disable_and_enable_users(self, server: Server, choices: random.Random) -> Iterator[None]:
        alice = caller(server, api_key=self.demo.ALICE_API_KEY)
        while True:
            user = choices.choice(self.users)
            fact = self.user_active[user]
            with fact.becoming(not fact.acknowledged):
                done(alice.patch(f"/api/v1/users/{user}", json={"active": not fact.acknowledged}))
            yield

    def _delegate_and_revoke(self, server: Server, choices: random.Random) -> Iterator[None]:
        people = {name: caller(server, api_key=self.demo[f"{name}_API_KEY"]) for name in self.delegated}
        while True:
            name = choices.choice(list(people))
            fact, person = self.delegated[name], people[name]
            if fact.acknowledged:
                (mine,) = [d for d in all_pages(person, "/api/v1/delegations") if d["is_active"]]
                with fact.becoming(False):
                    done(person.delete(f"/api/v1/delegations/{mine['id']}"))
            else:
                with fact.becoming(True):
                    done(person.post(delegations_path(self.demo), json={}))
            yield

    def _grant_and_toggle(self, server: Server, choices: random.Random) -> Iterator[None]:
        people = {name: caller(server, api_key=self.demo[f"{name}_API_KEY"]) for name in ("ALICE", "CAROL")}
        body = {"server_id": self.demo.SLACK_SERVER_ID}
        while True:
            name = choices.choice(list(people))
            now: dict[str, str] = self.grants.acknowledged
            if now[name] == "none":
                with self.grants.becoming(now | {name: "personal"}):
                    done(people[name].post(grants_path(self.demo), json=body | {"shared": False}))
            elif now[name] == "shared":
                with self.grants.becoming(now | {name: "personal"}):
                    done(people[name].post(f"{grants_path(self.demo)}/toggle", json=body))
            else:
                others_lose_theirs = dict.fromkeys(now, "none")
                with self.grants.becoming(others_lose_theirs | {name: "shared"}):
                    done(people[name].post(f"{grants_path(self.demo)}/toggle", json=body))
            yield

    def _create_and_revoke_keys(self, server: Server, choices: random.Random) -> Iterator[None]:
        bob = caller(server, api_key=self.demo.BOB_API_KEY)
        while True:
            full = len(self.live_keys) >= _MOST_LIVE_KEYS
            if full or (self.live_keys and choices.random() < 1 / 3):
                self.key_being_revoked = choices.choice(list(self.live_keys))
                done(bob.delete(f"/api/v1/api-keys/{self.key_being_revoked}"))
                self.revoked_keys[self.key_being_revoked] = self.live_keys.pop(self.key_being_revoked)
                self.key_being_revoked = None
            else:
                self.unanswered_key_creations += 1
                created = done(bob.post("/api/v1/api-keys", json={"name": "made in the storm"})).json()
                self.live_keys[created["id"]] = created["key"]
                self.unanswered_key_creations -= 1
            yield

    def _call_tools(self, server: Server, _: random.Random) -> Iterator[None]:
        bot = caller(server, token=agent_token(server))
        while True:
            answered = done(list_repos(bot, self.demo))
            self.audited_request_ids.append(answered.headers["x-request-id"])
            yield

    def check(self, server: Server) -> None:
        """Everything that was acknowledged is there, and nothing is there partly."""
        alice = caller(server, api_key=self.demo.ALICE_API_KEY)
        self._check_users(alice)
        self._check_delegations(server, alice)
        self._check_grants(server)
        self._check_keys(server)
        self._check_audit(alice)

    def _check_users(self, alice: httpx.Client) -> None:
        active = {user["id"]: user["active"] for user in all_pages(alice, "/api/v1/users")}
        for user, fact in self.user_active.items():
            fact.check(active[user])

    def _check_delegations(self, server: Server, alice: httpx.Client) -> None:
        of_the_agent = all_pages(alice, delegations_path(self.demo))
        for name, fact in self.delegated.items():
            user = self.demo[f"{name}_ID"]
            mine = all_pages(caller(server, api_key=self.demo[f"{name}_API_KEY"]), "/api/v1/delegations")
            theirs = [d for d in of_the_agent if d["delegator_user_id"] == user]
            by_id = {d["id"]: d for d in theirs}
            assert by_id == {d["id"]: d for d in mine}, f"{name}'s and the agent's list disagree"
            for delegation in mine:
                assert delegation["is_active"] is (delegation["revoked_at"] is None), delegation
            active = [d for d in mine if d["is_active"]]
            assert len(active) <= 1, active
            fact.check(bool(active))
            issued = request_token(server, actor_token=user, actor_token_type=USER_ID_TYPE)
            assert issued.status_code == (200 if active else 403), f"{name}: {issued.text}"

    def _check_grants(self, server: Server) -> None:
        found = {}
        for name, user in (("ALICE", self.demo.USER_ID), ("CAROL", self.demo.CAROL_ID)):
            client = caller(server, api_key=self.demo[f"{name}_API_KEY"])
            listed = [grant for grant in all_pages(client, grants_path(self.demo)) if grant["is_active"]]
            assert sum(grant["shared"] for grant in listed) <= 1, listed
            own = [grant for grant in listed if grant["grantor_user_id"] == user]
            assert len(own) <= 1, own
            found[name] = "none" if not own else "shared" if own[0]["shared"] else "personal"
        self.grants.check(found)

    def _check_keys(self, server: Server) -> None:
        bob = caller(server, api_key=self.demo.BOB_API_KEY)
        if undecided := self.key_being_revoked:
            works = self._key_works(server, self.live_keys[undecided])
            if not works:
                self.revoked_keys[undecided] = self.live_keys.pop(undecided)
            self.key_being_revoked = None
        for key in self.live_keys.values():
            assert self._key_works(server, key), "an acknowledged API key is lost"
        for key in self.revoked_keys.values():
            assert not self._key_works(server, key), "a revoked API key works again"
        listed = {
            key["id"] for key in all_pages(bob, "/api/v1/api-keys") if key["name"] == "made in the storm"
        }
        assert self.live_keys.keys() <= listed
        unexplained = listed - self.live_keys.keys() - self.revoked_keys.keys()
        assert len(unexplained) <= self.unanswered_key_creations

    @staticmethod
    def _key_works(server: Server, key: str) -> bool:
        return caller(server, api_key=key).get("/api/v1/me").status_code == 200

    def _check_audit(self, alice: httpx.Client) -> None:
        stored = {event["request_id"] for event in all_pages(alice, "/api/v1/audit-events")}
        lost = [request_id for request_id in self.audited_request_ids if request_id not in stored]
        assert lost == [], f"{len(lost)} answered calls have no audit event"
