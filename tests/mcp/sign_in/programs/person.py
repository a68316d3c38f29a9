"""What the Python clients have in common, like `person.mjs` for TypeScript: the app around the client, as on a person's
desk. `pass` is a step that only Python's have: it sets the client's clock forward."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from pydantic import BaseModel

Verb = Callable[..., Awaitable[BaseModel]]
Connect = Callable[[dict[str, Any], list[str]], AbstractAsyncContextManager[dict[str, Verb]]]


def main(connect: Connect) -> None:
    asyncio.run(_run(connect, json.loads(sys.argv[1])))


async def _run(connect: Connect, options: dict[str, Any]) -> None:
    asked: list[str] = []
    verbs: dict[str, Verb] = {}
    async with AsyncExitStack() as stack:
        while line := await asyncio.to_thread(sys.stdin.readline):
            step = json.loads(line)
            verb = step.pop("do")
            try:
                if verb == "pass":
                    _pass(step["seconds"])
                    said: dict[str, Any] = {"result": None}
                else:
                    verbs = verbs or await stack.enter_async_context(connect(options, asked))
                    result = await verbs[verb](**step)
                    said = {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}
            except Exception as error:
                said = {"error": _told(error)}
            print(json.dumps(said | {"asked": asked.copy()}), flush=True)
            asked.clear()


def _pass(seconds: float) -> None:
    before = time.time
    time.time = lambda: before() + seconds


def _told(error: BaseException) -> dict[str, Any]:
    """An error, or the first of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    told = {"kind": type(error).__name__, "message": str(error)}
    return told | {name: getattr(error, name) for name in ("code", "message", "data") if hasattr(error, name)}
