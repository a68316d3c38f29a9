"""The second day: lists of many people, the trail, and who could have made a call, beside a twentieth of everything."""

import datetime
import math
import statistics
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from . import deputize, http, load
from .deputize import Deputize
from .http import Request
from .load import Load
from .plan import Plan
from .report import Row, milliseconds, times

# A page is as long in both, since there are as many events, and as many people with a name, for each person.
MANY, FEW = (20_000, 1_000_000), (1_000, 50_000)
SERVER = "github"
PAGE = 50
# How many partitions a list has that calls write to.
PARTITIONS = 16
TARGET_ROUND_TRIPS = 2
TARGET_RATIO = 1.2
# "In seconds".
TARGET_SECONDS = 5
WEEK = datetime.timedelta(days=7)
EXPORTED = datetime.timedelta(days=3)
QUESTIONS = {
    "by groups": "delete_repo",
    "by people's addresses": "merge",
    "by the arguments": "deploy",
}


@dataclass
class Page:
    """What is asked for, how many it holds at most, and how many queries are sent at once for it."""

    path: str
    limit: int = PAGE
    queries: int = 1


def measure(binary: Path, plan: Plan) -> tuple[list[Row], dict]:
    with (
        deputize.started(binary, "deputize-day-few", seed=_seed(FEW)) as few,
        deputize.started(binary, "deputize-day-many", seed=_seed(MANY)) as many,
    ):
        page_rows, pages = _pages(few, many, plan)
        who_rows, who_could = _who_could(few, many)
        export_row, export = _export(few, many)
    figures = {"pages": pages, "who_could": who_could, "export": export}
    return [*page_rows, *who_rows, export_row], figures


def skipped() -> Row:
    return Row(f"{MANY[0]:,} people and {MANY[1]:,} events", "not measured in this run")


def _seed(size: tuple[int, int]) -> tuple[str, ...]:
    people, events = size
    return ("--seed-people", str(people), "--seed-events", str(events))


def _of(size: tuple[int, int]) -> str:
    return f"{size[0]:,} people and {size[1]:,} events"


# Pages


def _pages(few: Deputize, many: Deputize, plan: Plan) -> tuple[list[Row], dict]:
    pages = {"few": _asked(few), "many": _asked(many)}
    requests = {
        (name, size): _get(server, page.path)
        for size, server in [("few", few), ("many", many)]
        for name, page in pages[size].items()
    }
    lengths = {key: _length(request.send()) for key, request in requests.items()}
    costs = {name: _cost(many, requests[name, "many"], plan.counted_requests) for name in pages["many"]}
    for request in requests.values():
        load.run(request, Load(plan.warm_up_seconds / 3, 1))
    measured = load.interleaved(requests, Load(plan.call_seconds / 3, 1), plan.repetitions)
    rows, figures = [], {}
    for name, page in pages["many"].items():
        p50 = {size: measured[name, size].median("p50_ms") for size in pages}
        ratio = p50["many"] / p50["few"]
        trips = _round_trips(page, costs[name])
        figures[name] = {
            "items": {size: lengths[name, size] for size in pages},
            "requests": costs[name],
            "round_trips": trips,
            **{size: measured[name, size] for size in pages},
        }
        rows.append(
            Row(
                f"{name}, of {_of(MANY)}",
                f"p50 {milliseconds(p50['many'])}; {_shown(costs[name])}: {trips:g} round trips",
                f"of {_of(FEW)}: p50 {milliseconds(p50['few'])}",
                times(ratio),
                f"≤ {TARGET_ROUND_TRIPS} round trips, ≤ {TARGET_RATIO}×",
                trips <= TARGET_ROUND_TRIPS and ratio <= TARGET_RATIO,
            )
        )
    return rows, figures


def _asked(server: Deputize) -> dict[str, Page]:
    """The pages, about things that are in both servers as often."""
    person = _get(server, f"/users?name_prefix=ben&limit={PAGE}").send()[7]["id"]
    delegation = _get(server, f"/users/{person}/delegations").send()[0]
    agent = delegation["agent_account_id"]
    change = _get(server, "/audit-events?action=user.update&limit=1").send()[0]
    trail = f"/audit-events?limit={PAGE}&"
    of_tool = f"{trail}server_id={SERVER}&tool=delete_repo"
    week = urllib.parse.quote(_ago(WEEK))
    return {
        f"First {PAGE} users": Page(f"/users?limit={PAGE}"),
        "First 1,000 users": Page("/users?limit=1000", limit=1000),
        f"{PAGE} users by the beginning of their name": Page(f"/users?name_prefix=ann&limit={PAGE}"),
        f"First {PAGE} agent accounts": Page(f"/agent-accounts?limit={PAGE}"),
        "A person's delegations": Page(f"/users/{person}/delegations"),
        "The agents that act for a person": Page(f"/users/{person}/agents"),
        f"Last {PAGE} calls of a tool": Page(of_tool, queries=PARTITIONS),
        f"Who did: {PAGE} allowed calls of a tool in a week": Page(
            f"{of_tool}&outcome=allowed&from={week}", queries=PARTITIONS
        ),
        f"Last {PAGE} refusals": Page(f"{trail}outcome=denied,failed", queries=PARTITIONS),
        f"Last {PAGE} changes of users, by their action": Page(f"{trail}action=user.update"),
        "What was changed of a person, by their id": Page(f"{trail}subject={change['subject']}"),
        f"Last {PAGE} events of a person": Page(f"{trail}user_id={person}"),
        f"Last {PAGE} events of an agent": Page(f"{trail}actor=agent:{agent}"),
        "Calls of a tool on behalf of a person, several filters": Page(
            f"{of_tool}&on_behalf_of={person}&outcome=allowed"
        ),
        "Refusals of an agent, several filters": Page(
            f"{trail}outcome=denied&actor=agent:{agent}&server_id={SERVER}", queries=PARTITIONS
        ),
        f"Last {PAGE} events, all": Page(trail.rstrip("&"), queries=PARTITIONS),
        "One event by its id": Page(f"/audit-events/{change['id']}"),
    }


def _get(server: Deputize, path: str) -> Request:
    return http.get(f"{server.url}/api/v1{path}", server.with_api_key())


def _length(answer) -> int:
    return len(answer) if isinstance(answer, list) else 1


def _cost(server: Deputize, request: Request, requests: int) -> dict[str, float]:
    """What one request asks of the table, without the one read of its caller's credential."""
    counted = deputize.per_request(server, request.send, requests)["requests"]
    counted["BatchGetItem"] = counted.get("BatchGetItem", 0) - 1
    return {operation: count for operation, count in counted.items() if count}


def _round_trips(page: Page, cost: dict[str, float]) -> float:
    """Those that the answer waits for, one after the other. Requests of one kind for one page leave at the same time,
    which `tests/contract/round_trips.rs` counts."""
    reads = cost.get("BatchGetItem", 0) / math.ceil(page.limit / 100)
    return cost.get("Query", 0) / page.queries + reads


def _shown(cost: dict[str, float]) -> str:
    return " + ".join(f"{count:g} {operation}" for operation, count in sorted(cost.items(), reverse=True))


# Who could


def _who_could(few: Deputize, many: Deputize) -> tuple[list[Row], dict]:
    rows, figures = [], {}
    for asked, tool in QUESTIONS.items():
        for when, at in {"now": {}, "a week ago": {"at": _ago(WEEK)}}.items():
            body = {"server_id": SERVER, "tool_name": tool, **at}
            ask = {
                size: http.post_json(f"{server.url}/api/v1/policies/who-could", body, server.with_api_key())
                for size, server in [("few", few), ("many", many)]
            }
            answer = ask["many"].send()
            seconds = {size: [] for size in ask}
            for _ in range(5):
                for size, request in ask.items():
                    began = time.monotonic()
                    request.send()
                    seconds[size].append(time.monotonic() - began)
            cost = _cost(many, ask["many"], 1)
            took = {size: statistics.median(taken) for size, taken in seconds.items()}
            counts = {kind: answer[kind]["count"] for kind in ["people", "agents", "on_behalf_of"]}
            figures[f"{asked}, {when}"] = {"seconds": seconds, "counts": counts, "requests": cost}
            rows.append(
                Row(
                    f"Who could call a tool, {when}, decided {asked}: {MANY[0]:,} people, {MANY[0] // 20:,} agents,"
                    f" {MANY[0] * 21 // 20:,} delegations",
                    f"{took['many']:.2f} s ({min(seconds['many']):.2f} to {max(seconds['many']):.2f}): "
                    f"{counts['people']:,} people, {counts['agents']:,} agents, {counts['on_behalf_of']:,} on behalf;"
                    f" {_shown(cost)}",
                    f"with {FEW[0]:,} people: {took['few']:.2f} s",
                    times(took["many"] / took["few"]),
                    f"≤ {TARGET_SECONDS} s",
                    took["many"] <= TARGET_SECONDS,
                )
            )
    return rows, figures


# Export


def _export(few: Deputize, many: Deputize) -> tuple[Row, dict]:
    before = many.process.resident_mib()
    path = f"/audit-events/export?from={urllib.parse.quote(_ago(EXPORTED))}"
    rates = {size: _events_per_second(_get(server, path)) for size, server in [("few", few), ("many", many)]}
    peak = many.process.peak_mib()
    (events, per_second), (_, beside) = rates["many"], rates["few"]
    row = Row(
        f"Export of {events:,} of {MANY[1]:,} events as JSON lines, one core",
        f"{per_second:,.0f} events/s; memory {before:.0f} MiB before it, {peak:.0f} MiB at its peak",
        f"of {FEW[1]:,} events: {beside:,.0f} events/s",
        times(per_second / beside),
    )
    return row, {"rates": rates, "before_mib": before, "peak_mib": peak}


def _events_per_second(request: Request) -> tuple[int, float]:
    asked = urllib.request.Request(request.url, headers=request.headers)
    began, events = time.monotonic(), 0
    with http.opener.open(asked, timeout=60) as answer:
        while part := answer.read(1 << 20):
            events += part.count(b"\n")
    return events, events / (time.monotonic() - began)


def _ago(time_ago: datetime.timedelta) -> str:
    return (datetime.datetime.now(datetime.timezone.utc) - time_ago).isoformat(timespec="seconds")
