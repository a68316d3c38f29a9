"""What the Python clients have in common, like `steps.mjs` for TypeScript: a script of steps comes as JSON on
standard input, and the result of each step goes as JSON to standard output."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import mcp_types as types
from pydantic import BaseModel

# The answer to servers' requests.
ELICITED = {"name": "Ada"}
SAMPLED = "sampled by the client"
ROOT = "file:///tmp"

Verb = Callable[..., Awaitable[BaseModel]]


class Progress:
    """A progress callback that keeps what it gets."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.seen.append({"progress": progress, "total": total, "message": message, "at": _now()})


class Session:
    """A connected client: the server's identity, and the actions that the client can do."""

    def __init__(self, version: str | None, server: str | None, verbs: dict[str, Verb]) -> None:
        self.connected = {"version": version, "server": server}
        self.verbs = verbs


def main(connect: Callable[[dict[str, Any]], AbstractAsyncContextManager[Session]]) -> None:
    report: dict[str, Any] = {"steps": []}

    async def run(script: dict[str, Any]) -> None:
        async with connect(script) as session:
            report["connected"] = session.connected
            for step in script["steps"]:
                report["steps"].append(await _run(session, dict(step)))

    try:
        asyncio.run(run(json.load(sys.stdin)))
    except BaseException as error:
        if "connected" in report:
            raise
        report["refused"] = _told(error)
    json.dump(report, sys.stdout)


async def _run(session: Session, step: dict[str, Any]) -> dict[str, Any]:
    verb = session.verbs[step.pop("do")]
    progress = Progress() if step.pop("progress", False) else None
    if progress is not None:
        step["progress"] = progress
    try:
        result = (await verb(**step)).model_dump(mode="json", by_alias=True, exclude_none=True)
    except Exception as error:
        return {"error": _told(error)}
    return {"result": result} | ({} if progress is None else {"progress": progress.seen, "at": _now()})


def _now() -> float:
    return time.monotonic() * 1000


def reference(ref: dict[str, Any]) -> types.PromptReference | types.ResourceTemplateReference:
    """The subject of `complete`."""
    kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
    return kind.model_validate(ref)


def _told(error: BaseException) -> dict[str, Any]:
    """An error, or the first of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    told = {"kind": type(error).__name__, "message": str(error)}
    return told | {name: getattr(error, name) for name in ("code", "message", "data") if hasattr(error, name)}
