"""Everything a queue has on its server, as one dictionary to compare with, and what must hold of it at all times."""

from __future__ import annotations

from typing import Any

from zqueue.connect import Link, ServerError
from zqueue.keys import ORDER, Keys

CALL_LIFE_S = 60
"""How long a producer's last call is remembered."""


async def command(link: Link, *words: Any) -> Any:
    """One plain command; an error that the server answers is raised."""
    (reply,) = await link.send(words)
    if isinstance(reply, ServerError):
        raise reply
    return reply


async def read_keys(link: Link, keys: Keys) -> dict[str, Any]:
    """Every key of a queue by its name without the prefix, its value as the server holds it.

    Sorted sets and hashes become dictionaries (scores as integers, us), lists lists, strings bytes.
    """
    found = {}
    for key in sorted(await command(link, "KEYS", f"{keys.prefix}*")):
        name = key.decode().removeprefix(keys.prefix)
        kind = (await command(link, "TYPE", key)).decode()
        if kind == "zset":
            flat = await command(link, "ZRANGE", key, 0, -1, "WITHSCORES")
            found[name] = {_text(flat[at]): int(float(flat[at + 1])) for at in range(0, len(flat), 2)}
        elif kind == "hash":
            flat = await command(link, "HGETALL", key)
            found[name] = {_text(flat[at]): flat[at + 1] for at in range(0, len(flat), 2)}
        elif kind == "list":
            found[name] = await command(link, "LRANGE", key, 0, -1)
        else:
            found[name] = await command(link, "GET", key)
    return found


def _text(member: bytes) -> str:
    return member.decode("utf-8", "backslashreplace")


async def faults(link: Link, keys: Keys) -> list[str]:
    """What is wrong with a queue's keys, in sentences; empty when nothing is.

    Every key is one that `keys` names; every envelope is in exactly one set, the lane it says; every entry of a hash
    belongs to a job; a token means a lease; remembered calls expire.
    """
    held = await read_keys(link, keys)
    wrong = []
    for name in held:
        if name.startswith("call:"):
            left = await command(link, "TTL", f"{keys.prefix}{name}")
            if not 0 < left <= CALL_LIFE_S:
                wrong.append(f"{name} is kept for {left} s")
        elif name not in (*ORDER, "meta"):
            wrong.append(f"{name} is no key of a queue")
    return wrong + _wrong_jobs(held) + _wrong_entries(held)


def _wrong_jobs(held: dict[str, Any]) -> list[str]:
    wrong = []
    places: dict[str, list[str]] = {}
    for name in ("due:0", "due:1", "due:2", "leased", "dead"):
        for job_id in held.get(name, {}):
            places.setdefault(job_id, []).append(name)
    jobs = held.get("jobs", {})
    wrong += [f"{job_id} is in {sets} and has no envelope" for job_id, sets in places.items() if job_id not in jobs]
    for job_id, envelope in jobs.items():
        sets = places.get(job_id, [])
        lane = f"due:{envelope[:1].decode()}"
        if len(sets) != 1:
            wrong.append(f"{job_id} is in {sets}")
        elif sets[0].startswith("due:") and sets[0] != lane:
            wrong.append(f"{job_id} is in {sets[0]} and says {lane}")
    return wrong


def _wrong_entries(held: dict[str, Any]) -> list[str]:
    jobs, leased = held.get("jobs", {}), held.get("leased", {})
    wrong = []
    for job_id, entry in held.get("claims", {}).items():
        token = entry.split(b":")[0]
        if job_id not in jobs or job_id in held.get("dead", {}):
            wrong.append(f"claims keeps {entry!r} of {job_id}, which waits for nobody")
        if bool(token) != (job_id in leased):
            wrong.append(f"claims says {entry!r} of {job_id}, leased is {job_id in leased}")
    wrong += [f"{job_id} is leased without a claim" for job_id in leased if job_id not in held.get("claims", {})]
    wrong += [f"attempts keeps {job_id}, which is no job" for job_id in held.get("attempts", {}) if job_id not in jobs]
    if len(held.get("wake", [])) > 1:
        wrong.append(f"there are {len(held['wake'])} tokens")
    return wrong
