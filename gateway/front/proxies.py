"""Whose word about a client's address is taken: only that of proxies the operator names; pure.

``X-Forwarded-For`` is read from its right end, where our own proxies wrote; the first address that is not theirs is the client.
What stands further left came from the client and may be anything.
"""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """Trusted addresses and networks; ``unix`` trusts whoever reaches a Unix socket."""

    def __init__(self, names: str) -> None:
        """``names``: separated by commas. Raises ValueError naming what is neither an address nor a network."""
        listed = [name.strip() for name in names.split(",") if name.strip()]
        self._unix = "unix" in listed
        self._networks: list[Network] = [ipaddress.ip_network(name) for name in listed if name != "unix"]

    def trusts(self, address: str) -> bool:
        if address == "unix":
            return self._unix
        if not self._networks:
            return False
        try:
            number = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(number in network for network in self._networks)

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """The client's address, from the socket's other end and the values of ``X-Forwarded-For``."""
        if not self.trusts(peer):
            return peer
        client = peer
        for word in reversed(",".join(forwarded).split(",")):
            try:
                client = str(ipaddress.ip_address(word.strip()))
            except ValueError:
                return client  # not an address: nothing further left can be believed
            if not self.trusts(client):
                return client
        return client
