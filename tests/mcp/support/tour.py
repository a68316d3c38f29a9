"""What every client does at each server, and the expected results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.clients import HANDSHAKE_ERA, MODERN_ERA
from support.organization import (
    FORBIDDEN_PROMPTS,
    FORBIDDEN_RESOURCES,
    FORBIDDEN_TOOLS,
    HANDSHAKE,
    MODERN,
)

Check = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Stop:
    """A step of the tour: the client's instruction, and the expected report."""

    name: str
    step: dict[str, Any]
    check: Check


def _names(of: str, present: set[str], absent: set[str]) -> Check:
    """The list contains these names (or URIs), and not those."""

    def check(came: dict[str, Any]) -> None:
        listed = {item.get("uriTemplate") or item.get("uri") or item["name"] for item in came["result"][of]}
        assert present <= listed, listed
        assert not absent & listed

    return check


def _text(expected: str) -> Check:
    def check(came: dict[str, Any]) -> None:
        result = came["result"]
        assert not result.get("isError"), result
        assert expected in " ".join(block.get("text", "") for block in result["content"])

    return check


def _structured(**expected: Any) -> Check:
    def check(came: dict[str, Any]) -> None:
        assert came["result"]["structuredContent"] == expected

    return check


def _kinds(*expected: str) -> Check:
    """The kinds of content, in order."""

    def check(came: dict[str, Any]) -> None:
        assert [block["type"] for block in came["result"]["content"]] == list(expected)

    return check


def _tool_error(expected: str) -> Check:
    def check(came: dict[str, Any]) -> None:
        assert came["result"]["isError"] is True
        assert expected in came["result"]["content"][0]["text"]

    return check


def _steps_seen(count: int) -> Check:
    def check(came: dict[str, Any]) -> None:
        assert [event["progress"] for event in came["progress"]] == list(range(1, count + 1))
        assert {event["total"] for event in came["progress"]} == {count}

    return check


def _contents(uri: str, **expected: str) -> Check:
    """One content at this URI, whose fields contain the expected text."""

    def check(came: dict[str, Any]) -> None:
        (content,) = came["result"]["contents"]
        assert content["uri"] == uri
        for name, text in expected.items():
            assert text in content[name]

    return check


def _prompt(expected: str) -> Check:
    def check(came: dict[str, Any]) -> None:
        assert expected in came["result"]["messages"][0]["content"]["text"]

    return check


def _values(*expected: str) -> Check:
    def check(came: dict[str, Any]) -> None:
        assert came["result"]["completion"]["values"] == list(expected)

    return check


def _empty(came: dict[str, Any]) -> None:
    assert "error" not in came, came


def denied(came: dict[str, Any]) -> None:
    """A clear error: what was refused, for whom and why."""
    error = came["error"]
    assert error["code"] == 403
    assert "Policy denied" in error["message"]
    assert error["data"]["error"] == "access_denied"
    assert error["data"]["denied_for"] == "agent"


def _call(name: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"do": "call_tool", "name": name, "arguments": arguments or {}} | more


def _complete(ref: dict[str, str], name: str, value: str) -> dict[str, Any]:
    return {"do": "complete", "ref": ref, "argument": {"name": name, "value": value}}


_WORD = {"type": "ref/resource", "uri": "text://words/{language}"}
_TEXT_TEMPLATE = "demo://resource/dynamic/text/{resourceId}"

TOURS: dict[str, list[Stop]] = {
    MODERN: [
        Stop(
            "lists the permitted tools",
            {"do": "list_tools"},
            _names("tools", {"echo", "add", "fail", "slow", "query", "ask"}, {FORBIDDEN_TOOLS[MODERN]}),
        ),
        Stop("calls a tool", _call("echo", {"text": "Grüße, 世界"}), _text("Grüße, 世界")),
        Stop("gets structured content", _call("add", {"a": 2, "b": 40}), _structured(sum=42)),
        Stop("sees that a tool failed", _call("fail"), _tool_error("it did not work")),
        Stop(
            "calls a tool whose arguments go into headers",
            _call("query", {"region": "eu", "options": {"limit": 7}, "sql": "select"}),
            _text('{"sql":"select","region":"eu","limit":"7"}'),
        ),
        Stop("sees progress", _call("slow", {"steps": 3}, progress=True), _steps_seen(3)),
        Stop("answers what the server asks", _call("ask", {"greeting": "Hello"}), _text("Hello, Ada")),
        Stop(
            "lists the permitted resources",
            {"do": "list_resources"},
            _names("resources", {"text://motto"}, {FORBIDDEN_RESOURCES[MODERN]}),
        ),
        Stop(
            "lists resource templates",
            {"do": "list_resource_templates"},
            _names("resourceTemplates", {"text://words/{language}"}, set()),
        ),
        Stop(
            "reads a resource",
            {"do": "read_resource", "uri": "text://motto"},
            _contents("text://motto", text="Less is more"),
        ),
        Stop(
            "reads a resource of a template",
            {"do": "read_resource", "uri": "text://words/greek"},
            _contents("text://words/greek", text="greek"),
        ),
        Stop("lists prompts", {"do": "list_prompts"}, _names("prompts", {"translate"}, set())),
        Stop(
            "gets a prompt",
            {"do": "get_prompt", "name": "translate", "arguments": {"text": "yes", "language": "greek"}},
            _prompt("Translate into greek: yes"),
        ),
        Stop(
            "completes a prompt's argument",
            _complete({"type": "ref/prompt", "name": "translate"}, "language", "g"),
            _values("german", "greek"),
        ),
        Stop("completes a template's parameter", _complete(_WORD, "language", "i"), _values("italian")),
        Stop("subscribes to a resource", {"do": "subscribe_resource", "uri": "text://motto"}, _empty),
        Stop("is denied a tool", _call(FORBIDDEN_TOOLS[MODERN], {"bytes": 1}), denied),
        Stop("is denied a resource", {"do": "read_resource", "uri": FORBIDDEN_RESOURCES[MODERN]}, denied),
    ],
    HANDSHAKE: [
        Stop(
            "lists the permitted tools",
            {"do": "list_tools"},
            _names(
                "tools", {"echo", "get-sum", "trigger-long-running-operation"}, {FORBIDDEN_TOOLS[HANDSHAKE]}
            ),
        ),
        Stop("calls a tool", _call("echo", {"message": "Grüße, 世界"}), _text("Echo: Grüße, 世界")),
        Stop(
            "gets structured content",
            _call("get-structured-content", {"location": "Chicago"}),
            _structured(temperature=36, conditions="Light rain / drizzle", humidity=82),
        ),
        Stop("sees that a tool failed", _call("get-sum", {"a": "one"}), _tool_error("Invalid arguments")),
        Stop("gets an image", _call("get-tiny-image"), _kinds("text", "image", "text")),
        Stop(
            "gets links",
            _call("get-resource-links", {"count": 2}),
            _kinds("text", "resource_link", "resource_link"),
        ),
        Stop(
            "sees progress",
            _call("trigger-long-running-operation", {"duration": 0.03, "steps": 3}, progress=True),
            _steps_seen(3),
        ),
        Stop("answers what the server asks", _call("trigger-elicitation-request"), _text("- Name: Ada")),
        Stop(
            "samples for the server",
            _call("trigger-sampling-request", {"prompt": "Say something"}),
            _text("sampled by the client"),
        ),
        Stop(
            "lists the permitted resources",
            {"do": "list_resources"},
            _names(
                "resources",
                {"demo://resource/static/document/features.md"},
                {FORBIDDEN_RESOURCES[HANDSHAKE]},
            ),
        ),
        Stop(
            "lists resource templates",
            {"do": "list_resource_templates"},
            _names("resourceTemplates", {_TEXT_TEMPLATE}, set()),
        ),
        Stop(
            "reads a resource",
            {"do": "read_resource", "uri": "demo://resource/static/document/features.md"},
            _contents("demo://resource/static/document/features.md", text="# Everything Server - Features"),
        ),
        Stop(
            "reads a resource of a template",
            {"do": "read_resource", "uri": "demo://resource/dynamic/blob/1"},
            _contents("demo://resource/dynamic/blob/1", blob="UmVzb3VyY2UgMT"),
        ),
        Stop(
            "lists the permitted prompts",
            {"do": "list_prompts"},
            _names("prompts", {"args-prompt", "completable-prompt"}, {FORBIDDEN_PROMPTS[HANDSHAKE]}),
        ),
        Stop(
            "gets a prompt",
            {"do": "get_prompt", "name": "args-prompt", "arguments": {"city": "Ulm"}},
            _prompt("What's weather in Ulm?"),
        ),
        Stop(
            "completes a prompt's argument",
            _complete({"type": "ref/prompt", "name": "completable-prompt"}, "department", "S"),
            _values("Sales", "Support"),
        ),
        Stop(
            "completes a template's parameter",
            _complete({"type": "ref/resource", "uri": _TEXT_TEMPLATE}, "resourceId", "12"),
            _values("12"),
        ),
        Stop(
            "subscribes to a resource",
            {"do": "subscribe_resource", "uri": "demo://resource/dynamic/text/1"},
            _empty,
        ),
        Stop("is denied a tool", _call(FORBIDDEN_TOOLS[HANDSHAKE]), denied),
        Stop("is denied a resource", {"do": "read_resource", "uri": FORBIDDEN_RESOURCES[HANDSHAKE]}, denied),
        Stop("is denied a prompt", {"do": "get_prompt", "name": FORBIDDEN_PROMPTS[HANDSHAKE]}, denied),
    ],
}


@dataclass(frozen=True)
class Cannot:
    """A step that cannot work, why, and the result instead."""

    era: str
    server: str
    stop: str
    reason: str
    instead: Check = field(repr=False)


def _code(*expected: int | str) -> Check:
    def check(came: dict[str, Any]) -> None:
        assert came["error"]["code"] in expected, came

    return check


CANNOT = [
    Cannot(
        MODERN_ERA,
        MODERN,
        "subscribes to a resource",
        "the revision 2026-07-28 has subscriptions/listen in place of resources/subscribe",
        # The TypeScript client does not even send it.
        _code(-32601, "METHOD_NOT_SUPPORTED_BY_PROTOCOL_VERSION"),
    ),
    Cannot(
        MODERN_ERA,
        HANDSHAKE,
        "subscribes to a resource",
        "the same; and its updates would come to a session, which a stateless client has none of",
        _code(-32601, "METHOD_NOT_SUPPORTED_BY_PROTOCOL_VERSION"),
    ),
    Cannot(
        MODERN_ERA,
        HANDSHAKE,
        "answers what the server asks",
        "a handshake server asks by a request of its own, which a stateless client has no way to get; so none that "
        "can be asked is announced, and this server then does not have the tool",
        _tool_error("not found"),
    ),
    Cannot(
        MODERN_ERA,
        HANDSHAKE,
        "samples for the server",
        "the same",
        _tool_error("not found"),
    ),
    Cannot(
        HANDSHAKE_ERA,
        MODERN,
        "answers what the server asks",
        "a stateless server asks by a result that handshake revisions do not know; so it is not told that the client "
        "could be asked, and says what it lacks",
        _code(-32021),
    ),
    Cannot(
        HANDSHAKE_ERA,
        MODERN,
        "subscribes to a resource",
        "a stateless server has no sessions that it could send updates to",
        _code(-32601),
    ),
]


def expected(era: str, server: str, stop: Stop) -> Check:
    for cannot in CANNOT:
        if (cannot.era, cannot.server, cannot.stop) == (era, server, stop.name):
            return cannot.instead
    return stop.check
