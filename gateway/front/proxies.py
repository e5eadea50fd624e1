"""Whose word about a client's address is taken: only that of proxies the operator names; pure.

``X-Forwarded-For`` is read from its right end, where our own proxies wrote; the first address that is not theirs is the client.
What stands further left came from the client and may be anything.
"""

import ipaddress
from collections.abc import Iterable, Iterator

MOST_HOPS = 32  # proxies of ours between a client and us
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# All of IPv4, the same as a socket for both kinds gives it, and all of IPv6 that is public.
_EVERYBODY: tuple[Network, ...] = tuple(map(ipaddress.ip_network, ("0.0.0.0/0", "::ffff:0:0/96", "2000::/3")))


class TrustedProxies:
    """Trusted addresses and networks; ``unix`` trusts whoever reaches a Unix socket."""

    def __init__(self, names: str) -> None:
        """``names``: separated by commas. Raises ValueError naming what is neither an address nor a network."""
        listed = [name.strip() for name in names.split(",") if name.strip()]
        self._unix = "unix" in listed
        self._networks: list[Network] = [ipaddress.ip_network(name) for name in listed if name != "unix"]
        for whole in _EVERYBODY:
            if any(_covers(network, whole) for network in _joined(self._networks)):
                raise ValueError(
                    f"it trusts everybody (all of {whole}), so anybody could name any client's address; list your own proxies"
                )

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
        # So many from the right and no more: to understand an address takes microseconds, and a head has room for thousands.
        for word in reversed(",".join(forwarded).rsplit(",", MOST_HOPS)[-MOST_HOPS:]):
            if "%" in word:
                return client  # a zone, which may be any text, means nothing on another machine
            try:
                client = str(ipaddress.ip_address(word.strip()))
            except ValueError:
                return client  # not an address: nothing further left can be believed
            if not self.trusts(client):
                return client
        return client


def _joined(networks: Iterable[Network]) -> Iterator[Network]:
    """The same networks with neighbours as one: 0.0.0.0/1 and 128.0.0.0/1 are all of IPv4."""
    listed = list(networks)
    yield from ipaddress.collapse_addresses(net for net in listed if isinstance(net, ipaddress.IPv4Network))
    yield from ipaddress.collapse_addresses(net for net in listed if isinstance(net, ipaddress.IPv6Network))


def _covers(network: Network, other: Network) -> bool:
    return (
        network.version == other.version and other.network_address in network and network.prefixlen <= other.prefixlen
    )
