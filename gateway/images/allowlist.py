"""From where pictures may be fetched, and at which addresses such a place may be; pure, resolves nothing.

An entry is an origin, ``https://images.example.org`` or ``http://minio:9000``, and its host must then be at public addresses
only; or an origin with networks, ``http://minio:9000=10.0.0.0/24+fd00::/8``, and it must be inside these only.
"""

import ipaddress
from dataclasses import dataclass

from gateway.door import BadURL, RemoteURL, parse_remote_url

MOST_ENTRIES = 64  # the record of a start holds 192 places, those of the engines among them
_FORM = "write https://HOST[:PORT], or http://HOST[:PORT]=NETWORK+NETWORK for a place of your own network"
# Narrow enough that nobody writes "everywhere": the widest private networks are 10.0.0.0/8 and fc00::/7.
_WIDEST = {4: 8, 6: 7}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # leaves out ::/96, mapped, NAT64, local, link-local and multicast
# An IPv4 address is inside these (6to4, Teredo), or nobody's server is there.
_NO_SERVERS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(name) for name in ("2002::/16", "2001::/23", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24")
)


@dataclass(frozen=True)
class AllowedOrigin:
    """One entry. Without ``networks`` it must be at public addresses."""

    origin: str
    networks: tuple[Network, ...] = ()

    def permits(self, address: Address) -> bool:
        """Whether this place may be at ``address``."""
        if address.is_unspecified or address.is_multicast:
            return False
        if self.networks:
            return any(address in network for network in self.networks)
        return is_public(address)


class Allowlist:
    """The places, by origin; ``origins`` in the order in which they are written."""

    def __init__(self, entries: str) -> None:
        """``entries``: with commas between them. Raises ValueError naming the one that can't be used."""
        self._places: dict[str, AllowedOrigin] = {}
        for entry in (word.strip() for word in entries.split(",")):
            if entry:
                place = _place(entry)
                if place.origin in self._places:
                    raise ValueError(f"{place.origin} is listed twice; list it once, with all its networks")
                self._places[place.origin] = place
        if len(self._places) > MOST_ENTRIES:
            raise ValueError(f"{len(self._places)} entries are too many; list {MOST_ENTRIES} at most")

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(self._places)

    def find(self, url: RemoteURL) -> AllowedOrigin | None:
        """The entry for the origin of ``url``."""
        return self._places.get(url.origin)


def is_public(address: Address) -> bool:
    """Whether ``address`` is one of the internet's: not private, not local, and nothing that leads to such a one."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NO_SERVERS)


def _place(entry: str) -> AllowedOrigin:
    origin, mark, named = entry.partition("=")
    try:
        url = parse_remote_url(origin)
    except BadURL as fault:
        raise ValueError(f"{origin!r} {fault}; {_FORM}") from None
    if url.target != "/" or "?" in origin or "#" in origin:
        raise ValueError(f"{origin!r} is more than scheme, host and port; {_FORM}")
    networks = tuple(_network(name) for name in named.split("+")) if mark else ()
    place = AllowedOrigin(url.origin, networks)
    address = as_address(url.host)
    if address is not None and str(address) != url.host:
        raise ValueError(f"{origin!r} has an address that is written as {address}; write it so")
    if address is not None and not place.permits(address):
        raise ValueError(f"{origin!r} is not a public address; if you mean it, write {origin}={address}")
    return place


def _network(name: str) -> Network:
    try:
        network = ipaddress.ip_network(name.strip())
    except ValueError as fault:
        raise ValueError(f"{name!r} is no network ({fault}); {_FORM}") from None
    if network.prefixlen < _WIDEST[network.version]:
        raise ValueError(f"{name!r} is too wide a network; name one of /{_WIDEST[network.version]} or narrower")
    return network


def as_address(host: str) -> Address | None:
    """``host`` as an address; None if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
