"""A private address of this machine, for MCP servers that a deployed function must reach. Functions never connect to
loopback, where on Lambda the Runtime API listens."""

from __future__ import annotations

import ipaddress
import subprocess

# RFC 1918, RFC 6598, RFC 4193.
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_PRIVATE = [ipaddress.ip_network(network) for network in PRIVATE_NETWORKS]


def private_address() -> str:
    listed = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    addresses = [ipaddress.ip_address(address) for address in listed]
    for network in _PRIVATE:
        for address in addresses:
            if address.version == network.version and address in network:
                return str(address)
    raise RuntimeError(f"this machine has no address in a private network, only {listed}")
