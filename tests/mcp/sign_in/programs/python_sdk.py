"""The official Python SDK 2.x, with its own OAuth."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)

from person import Verb, main


class Kept:
    """The SDK's storage for tokens: a file."""

    def __init__(self, home: str) -> None:
        self._file = Path(home) / "kept.json"

    def _read(self) -> dict[str, Any]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def _keep(self, name: str, value: Any) -> None:
        self._file.write_text(json.dumps(self._read() | {name: value.model_dump(mode="json")}))

    async def get_tokens(self) -> OAuthToken | None:
        kept = self._read().get("tokens")
        return kept and OAuthToken.model_validate(kept)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._keep("tokens", tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        kept = self._read().get("client")
        return kept and OAuthClientInformationFull.model_validate(kept)

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._keep("client", client_info)


class Callback:
    """Takes the browser's answer, on any free port of this computer."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[dict[str, list[str]]] = asyncio.Queue()

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/callback"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK")
        await writer.drain()
        writer.close()
        if urlsplit(target).path == "/callback":
            self._answers.put_nowait(parse_qs(urlsplit(target).query))

    async def next(self) -> AuthorizationCodeResult:
        answer = {name: values[0] for name, values in (await self._answers.get()).items()}
        if "error" in answer:
            raise RuntimeError(f"the answer is {answer['error']}")
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))


async def _open(address: str) -> None:
    webbrowser.open(address)


@asynccontextmanager
async def connect(options: dict[str, Any], asked: list[str]) -> AsyncIterator[dict[str, Verb]]:
    callback = Callback()
    provider = OAuthClientProvider(
        options["url"],
        OAuthClientMetadata(
            client_name=options["name"],
            redirect_uris=[await callback.open()],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            token_endpoint_auth_method="none",
        ),
        Kept(options["home"]),
        redirect_handler=_open,
        callback_handler=callback.next,
        client_metadata_url=options.get("document"),
    )

    async def elicit(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.url)
        return types.ElicitResult(action="accept")

    async with (
        httpx2.AsyncClient(auth=provider, timeout=30) as http,
        Client(
            streamable_http_client(options["url"], http_client=http),
            client_info=types.Implementation(name=options["name"], version="1.0.0"),
            **({"elicitation_callback": elicit} if options["opens"] else {}),
        ) as client,
    ):
        yield {"list_tools": client.list_tools, "call_tool": client.call_tool}


main(connect)
