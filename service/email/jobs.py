"""The job that carries an e-mail through the queue: its id, ``EMAIL.GEN``, and its payload.

The payload names the store alone. An e-mail's record is in the store; the queue holds when, and the id says which.
"""

from __future__ import annotations

import functools
from typing import Any

import idna

from service.email.record import Email

MIXED = "mixed"
"""The group of e-mails to more than one domain. No domain is called so: each has a dot in it."""


def payload(store_id: str) -> dict[str, str]:
    """The payload of every job of the store *store_id*."""
    return {"store": store_id}


def store_of(job_payload: Any) -> str | None:
    """The store that a payload names, or None if it is no payload of ours."""
    store = job_payload.get("store") if isinstance(job_payload, dict) else None
    return store if isinstance(store, str) else None


def split(job_id: str) -> tuple[str, int] | None:
    """The e-mail's id and the generation in a job's id, or None if it is no id of ours."""
    email_id, dot, gen = job_id.rpartition(".")
    if not dot or not gen.isascii() or not gen.isdigit() or len(gen) > 9:
        return None
    return email_id, int(gen)


def group_of(email: Email) -> str:
    """The group of an e-mail's jobs: the domain of all its recipients in lower-case A-labels, or `MIXED`."""
    domains = {_in_ascii(one.address.rpartition("@")[2].lower()) for one in email.state.recipients}
    return domains.pop() if len(domains) == 1 else MIXED


@functools.lru_cache(maxsize=4096)
def _in_ascii(domain: str) -> str:
    return domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
