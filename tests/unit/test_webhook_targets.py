"""Where webhooks may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.targets import is_public, parse_url

PRIVATE = [
    "127.0.0.1",
    "10.1.1.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "192.0.0.1",
    "192.0.0.192",
    "168.63.129.16",
    "198.18.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "localhost",
    "0x7f.1",
    "2130706433",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_not_public(address: str) -> None:
    """Nor are loopback, link-local, multicast, reserved ones, and IPv6 addresses with such an IPv4 address in them."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2002:808:808::", "64:ff9b::808:808"]
)
def test_public_addresses_are(address: str) -> None:
    """What anybody can reach is allowed, also where a public IPv4 address is inside of it."""
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://example.com", (b"https", b"example.com", None, b"/")),
        ("HTTP://Example.com:8080/a/b?c=d", (b"http", b"example.com", 8080, b"/a/b?c=d")),
        ("https://bücher.example/x", (b"https", b"xn--bcher-kva.example", None, b"/x")),
        ("http://[2606:4700:4700::1111]:81/", (b"http", b"2606:4700:4700::1111", 81, b"/")),
        ("https://a_b.example./", (b"https", b"a_b.example.", None, b"/")),
    ],
)
def test_urls_are_read(url: str, read: tuple[bytes, bytes, int | None, bytes]) -> None:
    """Host names become ASCII, addresses stay, an empty path is the root."""
    found = parse_url(url, allow_private=False)
    assert (found.scheme, found.host, found.port, found.target) == read


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://example.com/", "must be a URL such as https://example.com/hooks"),
        ("example.com", "must be a URL such as https://example.com/hooks"),
        ("https://", "must be a URL such as https://example.com/hooks"),
        ("https://example.com:99999/", "must be a URL such as https://example.com/hooks"),
        ("https://[::1", "must be a URL such as https://example.com/hooks"),
        ("https://[1::2::3]/", "must be a URL such as https://example.com/hooks"),
        ("https://ann:secret@example.com/", "must not hold a user or a password"),
        ("https://example.com/#part", "must not have a fragment (#)"),
        ("https://example.com/a b", "must be a URL without blanks and control characters"),
        ("https://example.com/\r\nX: y", "must be a URL without blanks and control characters"),
        ("https://example.com/ä", "must be percent-encoded where it is not ASCII"),
        ("https://exa..mple.com/", "must have a host name that can exist"),
        ("https://exa%0d%0ample.com/", "must have a host name that can exist"),
        ("https://\u2460\ufffd.example/", "must have a host name that can exist"),
        ("https://example.com/" + "x" * 2_000, "must be at most 2,000 characters long"),
        (
            "http://127.0.0.1/",
            "must not lead into a private network; the setting SERVICE_WEBHOOK_ALLOW_PRIVATE=1 allows it",
        ),
        (
            "http://[::1]/",
            "must not lead into a private network; the setting SERVICE_WEBHOOK_ALLOW_PRIVATE=1 allows it",
        ),
    ],
)
def test_bad_urls_are_refused(url: str, complaint: str) -> None:
    """In words that say what is wrong and repeat nothing of it."""
    with pytest.raises(ValueError) as refused:
        parse_url(url, allow_private=False)
    assert str(refused.value) == complaint


def test_private_urls_may_be_allowed() -> None:
    """By the operator."""
    assert parse_url("http://127.0.0.1:8025/", allow_private=True).host == b"127.0.0.1"


@given(st.sampled_from(["", "http://", "https://", "http://[", "https://a:", "http://a/?"]), st.text(max_size=60))
def test_any_text_is_read_or_refused(start: str, rest: str) -> None:
    """Nothing that is no URL is a fault of ours, and what is read can be put on a line of HTTP."""
    try:
        found = parse_url(start + rest, allow_private=False)
    except ValueError:
        return
    written = found.scheme + found.host + found.target
    assert written.isascii()
    assert not {b" ", b"\r", b"\n", b"\0"} & {written[n : n + 1] for n in range(len(written))}
