"""Rates as settings write them: ``100/s``, ``3000/h``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import idna

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smhd])")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most *count* in each *seconds*."""

    count: int
    seconds: int


def parse(text: str) -> Rate:
    """The rate that *text* is.

    Raises:
        ValueError: It is none.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError("not a rate such as 100/s")
    return Rate(int(found[1]), _SECONDS[found[2]])


def parse_named(text: str, names: Collection[str]) -> dict[str, Rate]:
    """The rates in ``NAME=RATE,NAME=RATE``.

    Raises:
        ValueError: A name is none of *names* or comes twice, or a rate is none.
    """
    rates: dict[str, Rate] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, rate = (word.strip() for word in part.partition("="))
        if name not in names or name in rates:
            raise ValueError("not a name, or one that came before")
        rates[name] = parse(rate)
    return rates


def parse_domains(text: str) -> dict[str, Rate]:
    """The rates in ``DOMAIN=RATE,*=RATE``; the domains in lower-case A-labels.

    Raises:
        ValueError: A name is neither a domain nor ``*``, or comes twice, or a rate is none.
    """
    rates: dict[str, Rate] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, rate = (word.strip() for word in part.partition("="))
        if name != "*":
            name = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode("ascii")  # UnicodeError too
            if _DOMAIN.fullmatch(name) is None:
                raise ValueError("not a domain")
        if name in rates:
            raise ValueError("a domain that came before")
        rates[name] = parse(rate)
    return rates
