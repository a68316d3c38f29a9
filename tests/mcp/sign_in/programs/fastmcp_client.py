"""The client of FastMCP 4.x: with `auth="oauth"`, or with the same and a store, in which it keeps its tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.filetree import (
    FileTreeStore,
    FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy,
)

from person import Verb, main


def kept(home: str) -> FileTreeStore:
    folder = Path(home)
    return FileTreeStore(
        data_directory=folder,
        key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(folder),
        collection_sanitization_strategy=FileTreeV1CollectionSanitizationStrategy(folder),
    )


@asynccontextmanager
async def connect(options: dict[str, Any], asked: list[str]) -> AsyncIterator[dict[str, Verb]]:
    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> None:
        asked.append(params.url)

    auth: Any = "oauth"
    if options["keeps"]:
        auth = OAuth(token_storage=kept(options["home"]), client_metadata_url=options.get("document"))
    async with Client(
        options["url"],
        auth=auth,
        client_info=types.Implementation(name=options["name"], version="1.0.0"),
        elicitation_handler=elicit if options["opens"] else None,
    ) as client:
        yield {"list_tools": client.list_tools_mcp, "call_tool": client.call_tool_mcp}


main(connect)
