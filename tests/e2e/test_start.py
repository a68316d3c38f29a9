"""Starting the binary: its flags, the files that it makes, and its errors when it cannot start."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.api import caller, request_token
from harness.server import READY_LINE, Server, run_to_exit

PERMISSIVE_UMASK = 0o000


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A first start with a umask that hides nothing, so that the server itself must make files private."""
    data_dir = tmp_path_factory.mktemp("first") / "data"
    with Server.start(data_dir, umask=PERMISSIVE_UMASK) as server:
        yield server


def test_port_0_listens_on_a_free_port_and_says_which_on_standard_output(first_start: Server) -> None:
    lines = [line for line in first_start.stdout.text().splitlines() if line.startswith(READY_LINE)]
    assert len(lines) == 1
    assert re.fullmatch(r"listening on http://127\.0\.0\.1:[1-9]\d*", lines[0])
    assert caller(first_start).get("/healthz").status_code == 200
    assert first_start.demo.RUNLAYER_URL == first_start.url


def exchange(server: Server, request: bytes, host: str = "127.0.0.1") -> bytes:
    """What the server answers to these bytes."""
    with socket.create_connection((host, server.port), timeout=10) as connection:
        connection.sendall(request)
        answered = b""
        while part := connection.recv(65536):
            answered += part
            if b"\x88" in answered and answered.startswith(b"\x00") or b"\r\n\r\n" in answered:
                break
        return answered


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LocalHost"])
@pytest.mark.parametrize("with_port", [True, False])
def test_the_machines_names_for_itself_are_one_host_in_whatever_case(
    first_start: Server, host: str, with_port: bool
) -> None:
    named = f"{host}:{first_start.port}" if with_port else host
    page = f"http://{host}:{first_start.port}"
    answered = exchange(first_start, f"GET /healthz HTTP/1.1\r\nHost: {named}\r\n\r\n".encode())
    assert answered.startswith(b"HTTP/1.1 200")
    headers = {"origin": page, "access-control-request-method": "POST"}
    preflight = caller(first_start).options("/api/v1/me", headers=headers)
    assert (preflight.status_code, preflight.headers.get("access-control-allow-origin")) == (200, page)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "[::2]", "::1", "[::1", ""])
def test_another_host_is_refused(first_start: Server, host: str) -> None:
    answered = exchange(first_start, f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answered.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
def test_it_listens_where_localhost_leads_by_ipv6(first_start: Server) -> None:
    try:
        answered = exchange(first_start, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert answered.startswith(b"HTTP/1.1 200")


def test_a_client_may_speak_http2_from_the_beginning(first_start: Server) -> None:
    """RFC 9113 section 3.3, prior knowledge: the preface, empty settings, and one request (RFC 7541, appendix C)."""
    path, authority = b"/healthz", f"localhost:{first_start.port}".encode()
    block = b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01" + bytes([len(authority)]) + authority
    frame = len(block).to_bytes(3, "big") + b"\x01\x05" + (1).to_bytes(4, "big") + block
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    answered = exchange(first_start, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + frame)
    frames = {}
    while len(answered) >= 9:
        length, kind = int.from_bytes(answered[:3], "big"), answered[3]
        frames[kind] = answered[9 : 9 + length]
        answered = answered[9 + length :]
    # HEADERS, whose first field is `:status: 200`.
    assert frames[1][0] == 0x88


def test_two_servers_on_port_0_do_not_meet(first_start: Server, tmp_path: Path) -> None:
    with Server.start(tmp_path / "data") as other:
        assert other.port != first_start.port
        assert request_token(other).status_code == 200
        foreign = request_token(first_start, client_secret=other.demo.CLIENT_SECRET)
        assert foreign.status_code == 401


def test_the_data_directory_and_every_file_in_it_are_the_owners_alone(first_start: Server) -> None:
    assert stat.S_IMODE(first_start.data_dir.stat().st_mode) == 0o700
    modes = {
        str(path.relative_to(first_start.data_dir)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in first_start.data_dir.rglob("*")
        if path.is_file()
    }
    assert modes["demo.env"] == "0o600"
    assert {name: mode for name, mode in modes.items() if mode != "0o600"} == {}


def test_demo_env_sets_the_cookbooks_variables(first_start: Server) -> None:
    promised = {
        "RUNLAYER_URL", "CLIENT_ID", "CLIENT_SECRET", "AGENT_ACCOUNT_ID", "AGENT_ID", "SERVER_ID",
        "SLACK_SERVER_ID", "USER_ID", "API_KEY", "ALICE_API_KEY", "USER_TOKEN", "ADMIN_TOKEN",
        "USER_ACCESS_TOKEN", "BOB_ID", "BOB_API_KEY", "CAROL_ID", "CAROL_API_KEY", "DEMO_ISSUER",
        "ERIN_ID", "ERIN_API_KEY", "FRANK_ID", "FRANK_API_KEY",
    }  # fmt: skip
    demo = first_start.demo
    assert promised - set(demo) == set()
    assert [name for name in promised if not demo[name]] == []
    assert demo.AGENT_ID == demo.AGENT_ACCOUNT_ID
    assert demo.API_KEY == demo.ALICE_API_KEY


def test_no_demo_starts_empty_and_writes_no_demo_env(tmp_path: Path) -> None:
    with Server.start(tmp_path / "data", flags=["--no-demo"]) as server:
        assert not server.demo_env_file.exists()
        client = caller(server)
        assert client.get("/healthz").status_code == 200
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/api/v1/me").status_code == 401


def test_help_names_every_flag() -> None:
    helped = run_to_exit("--help")
    assert helped.code == 0
    assert [flag for flag in ("--port", "--data-dir", "--no-demo") if flag not in helped.stdout] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--prot", "1"], "--prot"),
        (["--port", "abc"], "--port"),
        (["--port", "99999"], "--port"),
        (["--port"], "--port"),
        (["serve"], "serve"),
    ],
    ids=[
        "misspelt flag",
        "port that is no number",
        "port out of range",
        "flag without value",
        "stray argument",
    ],
)
def test_a_bad_flag_is_named_and_nothing_is_created(tmp_path: Path, arguments: list[str], named: str) -> None:
    data_dir = tmp_path / "data"
    refused = run_to_exit("--data-dir", data_dir, *arguments)
    assert refused.code == 2
    assert named in refused.stderr
    assert "panicked" not in refused.stderr
    assert not data_dir.exists()


def test_a_port_in_use_is_named_together_with_the_way_out(first_start: Server, tmp_path: Path) -> None:
    refused = run_to_exit("--port", str(first_start.port), "--data-dir", tmp_path / "data")
    assert refused.code not in (0, 101)
    assert str(first_start.port) in refused.stderr
    assert "in use" in refused.stderr
    assert "--port" in refused.stderr
    assert READY_LINE not in refused.stdout


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "data"
    in_the_way.write_text("not a directory")
    refused = run_to_exit("--port", "0", "--data-dir", in_the_way)
    assert refused.code not in (0, 101)
    assert str(in_the_way) in refused.stderr
    assert in_the_way.read_text() == "not a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refused = run_to_exit("--port", "0", "--data-dir", tmp_path / "data")
    assert refused.code not in (0, 101)
    assert str(tmp_path / "data") in refused.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS", "true", "DEPUTIZE_PRIVATE_UPSTREAMS, such as 10.20.0.0/16,.corp.example"),
        ("DEPUTIZE_PRIVATE_UPSTREAMS", "0.0.0.0/0", "entry 1 is not within a private network"),
        ("DEPUTIZE_CA_BUNDLE", "/nowhere/bundle.pem", "No such file"),
    ],
)
def test_a_wrong_setting_of_outgoing_connections_is_named(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    refused = run_to_exit("--port", "0", "--data-dir", tmp_path / "data", environment={variable: value})
    assert refused.code not in (0, 101)
    assert variable in refused.stderr and said in refused.stderr
    assert READY_LINE not in refused.stdout


def test_the_demo_works_where_no_private_network_is_open(tmp_path: Path) -> None:
    """Its servers are on this machine, which the local server may always call."""
    listed = {"DEPUTIZE_PRIVATE_UPSTREAMS": ".corp.example"}
    with Server.start(tmp_path / "data", environment=listed) as server:
        tools = caller(server, api_key=server.demo.API_KEY).get(f"/api/v1/proxy/{server.demo.SERVER_ID}/tools")
        assert tools.status_code == 200, tools.text


def test_sigterm_ends_the_server_with_success(tmp_path: Path) -> None:
    with Server.start(tmp_path / "data") as server:
        server.stop()
    assert server.process.returncode == 0


def test_more_headers_than_may_be_are_refused_with_a_body(first_start: Server) -> None:
    """hyper itself answers 431 without one from the 101st header on: hyperium/hyper pull 3523."""
    connection = http.client.HTTPConnection("127.0.0.1", first_start.port, timeout=10)
    connection.request("GET", "/healthz", headers={f"x-{n}": "1" for n in range(200)})
    answer = connection.getresponse()
    assert answer.status == 431
    assert json.loads(answer.read())["reason"] == "headers_too_many"
    connection.close()
