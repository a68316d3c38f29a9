"""A person manages what is theirs on the console's pages, behind the same guard."""

from __future__ import annotations

import re

import httpx
import pytest
from emulated.deployment import Deployment
from emulated.organization import allowed
from emulated.person import Person, sent_to
from harness.api import caller, done
from harness.demo_env import DemoEnv
from harness.secrets_ledger import LEDGER

SERVER = "demo-oauth"


@pytest.fixture
def dora(server: Deployment) -> Person:
    return Person(server, "desk@example.com").sign_in()


def value(page: httpx.Response, name: str) -> str:
    """The value of the first button of this name."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return found[1]


def test_a_person_delegates_lends_their_connection_sees_it_and_takes_all_of_it_back(
    server: Deployment, demo: DemoEnv, dora: Person
) -> None:
    assert "No agent acts for you." in dora.home()
    assert "Support Bot" in dora.open("/delegate").text
    to = f"/delegate/{demo.AGENT_ACCOUNT_ID}"
    chosen = {"where": "these", f"server:{SERVER}": "yes", "server:demo": "yes", "until": "30"}
    sent_to(dora.send(dora.open(to), to, **chosen))
    # Narrower: what led to the delegation at the other server goes.
    narrower = {"where": "these", f"server:{SERVER}": "yes", "until": "7"}
    assert "Support Bot</b> acts for you now." in dora.http.get(sent_to(dora.send(dora.open(to), to, **narrower))).text

    here = f"/connections/{SERVER}"
    provider = sent_to(dora.press(dora.open(f"/connect/{SERVER}")))
    connected = dora.http.get(allowed(provider, "carol", demo.DEMO_PASSWORD), follow_redirects=True)
    assert "Connected" in connected.text
    lent = dora.send(dora.open(here), f"{here}/lend", agent=demo.AGENT_ACCOUNT_ID)
    assert sent_to(lent).endswith(here)
    asks = dora.open(f"{here}/lend?agent={demo.AGENT_ACCOUNT_ID}")
    sent_to(dora.send(asks, f"{here}/lend", agent=demo.AGENT_ACCOUNT_ID))
    page = dora.open(here)
    assert "share it with everybody" in page.text
    sent_to(dora.send(page, f"{here}/take-back", grant=value(page, "grant")))
    assert "Used by" in dora.open("/connections").text

    activity = dora.open("/activity").text
    assert "delegated to Support Bot" in activity
    event = re.search(r'href="[^"]*(/activity/[^"]*)"', activity)
    assert event
    assert "What happened" in dora.open(event[1]).text

    disconnect = f"{here}/disconnect"
    assert sent_to(dora.send(dora.open(disconnect), disconnect)).endswith(f"/connections?disconnected={SERVER}")
    home = dora.open("/")
    ended = dora.http.get(sent_to(dora.send(home, "/delegations/end", delegation=value(home, "delegation"))))
    undone = dora.send(ended, "/delegations/undo", agent=demo.AGENT_ACCOUNT_ID)
    assert "acts for you now" in dora.http.get(sent_to(undone)).text
    sent_to(dora.send(dora.open("/delegations/end-all"), "/delegations/end-all"))
    assert "No agent acts for you." in dora.home()


def test_a_key_is_made_deleted_and_restored_on_a_page(server: Deployment, dora: Person) -> None:
    new = {"name": "Desk", "manage_read": "yes", "where": "everywhere", "until": "7"}
    made = dora.send(dora.open("/keys"), "/keys", **new)
    shown = re.search(r'class="secret"><code>([^<]*)<', made.text)
    assert shown, made.text
    key = shown[1]
    LEDGER.add("key", key)
    script = caller(server, api_key=key)
    assert done(script.get("/api/v1/me")).json()["email"] == "desk@example.com"
    page = dora.open("/keys")
    deleted = sent_to(dora.send(page, "/keys/delete", key=value(page, "key")))
    assert script.get("/api/v1/me").status_code == 401
    after = dora.http.get(deleted)
    sent_to(dora.send(after, "/keys/restore", key=value(after, "key")))
    done(script.get("/api/v1/me"))


def test_another_browser_is_signed_out_on_a_page(server: Deployment, dora: Person) -> None:
    elsewhere = Person(server, "desk@example.com").sign_in()
    page = dora.open("/apps")
    sent_to(dora.send(page, "/apps/browsers", session=value(page, "session")))
    assert "can act as you now" not in elsewhere.home()
    assert "can act as you now" in dora.home()
