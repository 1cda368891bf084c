"""Everything a queue has on its server, as one dictionary to compare with, and what must hold of it at all times."""

from __future__ import annotations

from collections import Counter
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
    belongs to a job; a token means a lease; a job that is parked has a gate, or a run of its group to wait for;
    remembered calls expire.
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
    return wrong + _wrong_jobs(held) + _wrong_entries(held) + _wrong_groups(held) + _wrong_schedules(held)


def read_parked(member: str) -> tuple[str, str, int, int]:
    """The id, group, lane and due time (us) of a member of `parked`."""
    group, _, rest = member.partition("\0")
    return rest[17:], group, int(rest[:1]), int(rest[1:17])


def _wrong_jobs(held: dict[str, Any]) -> list[str]:
    wrong = []
    places: dict[str, list[str]] = {}
    for name in ("due:0", "due:1", "due:2", "leased", "done", "dead"):
        for job_id in held.get(name, {}):
            places.setdefault(job_id, []).append(name)
    for member in held.get("parked", {}):
        job_id, _group, lane, _due = read_parked(member)
        places.setdefault(job_id, []).append(f"parked:{lane}")
    jobs = held.get("jobs", {})
    wrong += [f"{job_id} is in {sets} and has no envelope" for job_id, sets in places.items() if job_id not in jobs]
    for job_id, envelope in jobs.items():
        sets = places.get(job_id, [])
        lane = envelope[:1].decode()
        if len(sets) != 1:
            wrong.append(f"{job_id} is in {sets}")
        elif ":" in sets[0] and sets[0].partition(":")[2] != lane:
            wrong.append(f"{job_id} is in {sets[0]} and says {lane}")
    return wrong


def _wrong_entries(held: dict[str, Any]) -> list[str]:
    jobs, leased, done, dead = (held.get(name, {}) for name in ("jobs", "leased", "done", "dead"))
    wrong = []
    for job_id, entry in held.get("claims", {}).items():
        token = entry.split(b":")[0]
        if job_id not in jobs or job_id in dead:
            wrong.append(f"claims keeps {entry!r} of {job_id}, which waits for nobody")
        if bool(token) != (job_id in leased):
            wrong.append(f"claims says {entry!r} of {job_id}, leased is {job_id in leased}")
    for name in ("leased", "done"):
        wrong += [
            f"{job_id} is {name} without a claim" for job_id in held.get(name, {}) if job_id not in held["claims"]
        ]
    wrong += [f"attempts keeps {job_id}, which is no job" for job_id in held.get("attempts", {}) if job_id not in jobs]
    wrong += [
        f"progress keeps {job_id}, which does not run" for job_id in held.get("progress", {}) if job_id not in jobs
    ]
    wrong += [f"results and done differ in {job_id}" for job_id in held.get("results", {}).keys() ^ done.keys()]
    if len(held.get("wake", [])) > 1:
        wrong.append(f"there are {len(held['wake'])} tokens")
    return wrong


def _wrong_groups(held: dict[str, Any]) -> list[str]:
    """Each parked job and each counted run is in `groups`; `running` is their sum; nobody waits for ever."""
    parked, limits, counts = held.get("parked", {}), held.get("limits", {}), held.get("running", {})
    waiting = {read_parked(member)[0]: member for member in parked}
    groups = {job_id: _text(entry) for job_id, entry in held.get("groups", {}).items()}
    counted = {job_id: entry for job_id, entry in groups.items() if "\0" not in entry}
    wrong = [
        f"{job_id} is parked as {member!r}, groups has it not"
        for job_id, member in waiting.items()
        if groups.get(job_id) != member
    ]
    wrong += [
        f"groups has {groups[job_id]!r} of {job_id}, which is not there"
        for job_id in groups.keys() - waiting.keys() - held.get("leased", {}).keys()
    ]
    if Counter(counted.values()) != {group: int(count) for group, count in counts.items()}:
        wrong.append(f"running is {counts}, groups {groups}")
    for group in {read_parked(member)[1] for member in parked} - held.get("gates", {}).keys():
        most = limits.get(group, b"::").rpartition(b":")[2]
        if not most or int(counts.get(group, 0)) < int(most):
            wrong.append(f"{group} has parked jobs, no gate, and no run to wait for")
    return wrong


def _wrong_schedules(held: dict[str, Any]) -> list[str]:
    fires, specs = held.get("fires", {}).keys(), held.get("recurring", {}).keys()
    return [f"recurring and fires differ in {name}" for name in fires ^ specs]
