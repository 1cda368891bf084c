"""Where webhooks may go: not to what only this machine or its network can reach, unless the operator allows it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import httpcore
import idna

from service.settings import PREFIX

LONGEST_URL = 2_000
ALLOW = f"{PREFIX}WEBHOOK_ALLOW_PRIVATE"

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 as an IPv6-only network sees it (RFC 6052)."""
_REFUSED = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # within a network (RFC 6890); some clouds answer there with a machine's credentials
            "168.63.129.16/32",  # what the machines of another cloud ask their host, and nobody else reaches
            "192.88.99.0/24",  # relays of 6to4, which are gone (RFC 7526)
            "64:ff9b:1::/48",  # translated to addresses of the local network (RFC 8215)
            "3fff::/20",  # documentation (RFC 9637)
            "5f00::/16",  # segment routing within a network (RFC 9602)
            "fec0::/10",  # site-local, deprecated but routed here and there (RFC 3879)
            "::/96",  # IPv4 in IPv6 as it was written long ago (RFC 4291, section 2.5.5.1)
        ),
    )
)


def is_public(address: str) -> bool:
    """Whether anybody on the Internet can reach *address*; also judged by the IPv4 address that is inside of it."""
    try:
        found: _Address = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return _is_public(found)
    instead = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else found.ipv4_mapped
    if instead is not None:  # what is connected to in the end
        return _is_public(instead)
    return all(map(_is_public, filter(None, (found, found.sixtofour, *(found.teredo or ())))))


def _is_public(address: _Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _REFUSED if network.version == address.version)
    )


def parse_url(text: str, *, allow_private: bool) -> httpcore.URL:
    """Read the URL of an endpoint.

    Raises:
        ValueError: A webhook cannot go there; the message reads on from the field's name, and repeats nothing.
    """
    if len(text) > LONGEST_URL:
        raise ValueError(f"must be at most {LONGEST_URL:,} characters long")
    if not text.isprintable() or " " in text:
        raise ValueError("must be a URL without blanks and control characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://example.com/hooks") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError("must be a URL such as https://example.com/hooks")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or a password")
    if parts.fragment:
        raise ValueError("must not have a fragment (#)")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii():
        raise ValueError("must be percent-encoded where it is not ASCII")
    ascii_host = _ascii(host)
    if not allow_private and _is_address(ascii_host) and not is_public(ascii_host):
        raise ValueError(f"must not lead into a private network; the setting {ALLOW}=1 allows it")
    return httpcore.URL(scheme=parts.scheme, host=ascii_host, port=port, target=target)


def _ascii(host: str) -> str:
    if ":" in host:  # an IPv6 address
        if not _is_address(host):
            raise ValueError("must be a URL such as https://example.com/hooks")
        return host
    if not host.isascii():
        try:
            return idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("must have a host name that can exist") from None
    if len(host) > 253 or not all(0 < len(label) <= 63 for label in host.removesuffix(".").split(".")):
        raise ValueError("must have a host name that can exist")
    if not host.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError("must have a host name that can exist")
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
