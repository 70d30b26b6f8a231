"""Which address a webhook may connect to: every one that its name stands for is checked, and a checked one is used."""

from __future__ import annotations

import ipaddress
import socket
from typing import cast

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NotAllowedError(Exception):
    """A name stands for an address that a webhook may not reach."""


class NeverAllowedError(NotAllowedError):
    """A name stands for an address that no webhook may reach, whatever its channel says."""


def checked_addresses(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Addresses of a host, all of which may be reached.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        For the look-up.
    allow_private : bool
        Whether this machine and private networks may be reached.

    Returns
    -------
    list of str
        In the order of the look-up, at least one. Connect to one of these, not to the name: it may stand for another
        address a moment later.

    Raises
    ------
    NotAllowedError
        One of them may not be reached.
    OSError
        The name is unknown.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(cast("str", entry[4][0]) for entry in found))
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not is_allowed(address, allow_private=allow_private):
            raise NotAllowedError if is_allowed(address, allow_private=True) else NeverAllowedError
    return addresses


def is_allowed(address: Address, *, allow_private: bool) -> bool:
    """Whether an address may be reached.

    Link-local ones, where clouds keep the credentials of a machine, may never be, nor those that are nobody's.

    Examples
    --------
    >>> is_allowed(ipaddress.ip_address("10.0.0.7"), allow_private=False)
    False
    >>> is_allowed(ipaddress.ip_address("10.0.0.7"), allow_private=True)
    True
    >>> is_allowed(ipaddress.ip_address("169.254.169.254"), allow_private=True)
    False
    """
    address = _inner(address)
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    is_private = address.is_private or address.is_loopback or not address.is_global
    return allow_private or not is_private


def _inner(address: Address) -> Address:
    """The IPv4 address that one of IPv6 carries, where it carries one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
