"""The official Python SDK 2.x."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

from steps import ELICITED, ROOT, SAMPLED, Session, main, reference


class Memory:
    """The SDK's storage for tokens."""

    tokens = client = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client: Any) -> None:
        self.client = client


async def _elicit(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=ELICITED)


async def _sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text=SAMPLED)
    return types.CreateMessageResult(role="assistant", model="a model", content=content)


async def _roots(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri=ROOT)])


@asynccontextmanager
async def connect(script: dict[str, Any]) -> AsyncIterator[Session]:
    url = script["url"]
    if token := script.get("token"):
        access: dict[str, Any] = {"headers": {"authorization": f"Bearer {token}"}}
    else:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        access = {
            "auth": ClientCredentialsOAuthProvider(
                url, Memory(), script["client_id"], script["client_secret"], issuer=origin
            )
        }
    async with (
        httpx2.AsyncClient(**access, timeout=30) as http,
        Client(
            streamable_http_client(url, http_client=http),
            client_info=types.Implementation(name="python-sdk", version="1.0.0"),
            mode=script["mode"],
            elicitation_callback=_elicit,
            sampling_callback=_sample,
            list_roots_callback=_roots,
        ) as client,
    ):
        server = client.server_info
        yield Session(
            client.protocol_version,
            server and server.name,
            {
                "list_tools": client.list_tools,
                "call_tool": lambda name, arguments, progress=None: client.call_tool(
                    name, arguments, progress_callback=progress
                ),
                "list_resources": client.list_resources,
                "list_resource_templates": client.list_resource_templates,
                "read_resource": client.read_resource,
                "subscribe_resource": client.subscribe_resource,
                "list_prompts": client.list_prompts,
                "get_prompt": client.get_prompt,
                "complete": lambda ref, argument: client.complete(reference(ref), argument),
            },
        )


main(connect)
