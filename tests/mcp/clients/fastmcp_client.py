"""The client of FastMCP 4.x."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import mcp_types as types
from fastmcp import Client
from fastmcp.client.auth import ClientCredentialsOAuthProvider

from steps import ELICITED, ROOT, SAMPLED, Session, main, reference


async def _elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
    return ELICITED


async def _sample(messages: Any, params: Any, context: Any) -> str:
    return SAMPLED


@asynccontextmanager
async def connect(script: dict[str, Any]) -> AsyncIterator[Session]:
    url = script["url"]
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    access = script.get("token") or ClientCredentialsOAuthProvider(
        client_id=script["client_id"], client_secret=script["client_secret"], issuer=origin
    )
    async with Client(
        url,
        auth=access,
        client_info=types.Implementation(name="fastmcp", version="1.0.0"),
        mode=script["mode"],
        elicitation_handler=_elicit,
        sampling_handler=_sample,
        roots=[ROOT],
    ) as client:
        server = client.server_info
        yield Session(
            client.protocol_version,
            server and server.name,
            {
                "list_tools": client.list_tools_mcp,
                "call_tool": lambda name, arguments, progress=None: client.call_tool_mcp(
                    name, arguments, progress_handler=progress
                ),
                "list_resources": client.list_resources_mcp,
                "list_resource_templates": client.list_resource_templates_mcp,
                "read_resource": lambda uri: client.read_resource_mcp(uri),
                "subscribe_resource": lambda uri: client.session.subscribe_resource(uri),
                "list_prompts": client.list_prompts_mcp,
                "get_prompt": client.get_prompt_mcp,
                "complete": lambda ref, argument: client.complete_mcp(reference(ref), argument),
            },
        )


main(connect)
