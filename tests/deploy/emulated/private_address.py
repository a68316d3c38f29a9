"""A private address of this machine, for functions to connect to, since they refuse loopback addresses.

Connections to it are forwarded to a server on the loopback interface.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import subprocess
import threading

# A made-up address (RFC 4193). It is added to the loopback interface if the machine has no private address.
_OUR_OWN = "fd64:6570:7574::1"


def private_address() -> str:
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    for text in found:
        if _is_private(text) and _is_ours(text):
            return text
    subprocess.run(["ip", "address", "add", f"{_OUR_OWN}/128", "dev", "lo"], capture_output=True, check=False)
    assert _is_ours(_OUR_OWN), (
        "this machine has no private address (RFC 1918, RFC 4193) for the MCP servers of the test; "
        f"give it one: ip address add {_OUR_OWN}/128 dev lo"
    )
    return _OUR_OWN


def _is_private(text: str) -> bool:
    address = ipaddress.ip_address(text.split("%")[0])
    private = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
    networks = (ipaddress.ip_network(network) for network in private)
    return any(address.version == network.version and address in network for network in networks)


def _is_ours(text: str) -> bool:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family) as listener:
        listener.bind((text, 0))
        return True
    return False


class Forwarder:
    """Accepts connections at a private address from the beginning, and forwards them once it knows the target."""

    def __init__(self) -> None:
        self.address = address = private_address()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"

    def forward_to(self, port: int) -> None:
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _accept(self, port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", port))
                for source, to in ((here, there), (there, here)):
                    threading.Thread(target=_copy, args=(source, to), daemon=True).start()


def _copy(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)
