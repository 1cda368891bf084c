"""Schedules on the server: what is stored of one, and which jobs a due one makes.

A spec is two lines: when (`Schedule.to_json`), and what: the misfire policy, a space, and the envelope of its jobs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from zqueue.clock import instant_us, moment
from zqueue.envelope import checked_text, decode_job
from zqueue.errors import CorruptJob, InvalidJob
from zqueue.job import Job, Priority
from zqueue.replies import Fire
from zqueue.retry import Retry
from zqueue.schedule import MISFIRES, Misfire, Schedule, due_slots, schedule_from_json

_LOG: Final = logging.getLogger("zqueue")
_POSTPONED_US: Final = 60_000_000
_LONGEST_NAME: Final = 160
"""Bytes; the jobs of a schedule are called NAME@SLOT, and an id has at most 200."""


@dataclass(frozen=True, slots=True)
class Recurring:
    """A schedule and the jobs it makes.

    Attributes:
        next_at: The slot for which it makes a job next.
        misfire: What becomes of slots at whose time no worker ran; see `Queue.recur`.
        task: The `name` of its jobs.
    """

    name: str
    schedule: Schedule
    next_at: datetime
    payload: Any
    misfire: Misfire = "once"
    task: str = ""
    priority: Priority = Priority.NORMAL
    group: str | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None


def checked_name(name: str) -> str:
    """The name of a schedule, if it can be one.

    Raises:
        InvalidJob: It cannot.
    """
    if len(checked_text("the name of a schedule", name).encode()) > _LONGEST_NAME:
        raise InvalidJob(f"the name of a schedule must be at most {_LONGEST_NAME} bytes long: {name!r}")
    return name


def encode_spec(schedule: Schedule, misfire: Misfire, envelope: bytes) -> tuple[bytes, bytes]:
    """The two lines of a spec.

    Raises:
        InvalidJob: It is no schedule, or no policy.
    """
    if not isinstance(schedule, Schedule):
        raise InvalidJob(f"a schedule comes from cron(...) or every(...), not {schedule!r}")
    if misfire not in MISFIRES:
        raise InvalidJob(f"misfire must be one of {', '.join(MISFIRES)}, not {misfire!r}")
    return orjson.dumps(schedule.to_json()), misfire.encode() + b" " + envelope


def _decode_spec(name: bytes, spec: bytes) -> tuple[Schedule, Misfire, bytes]:
    times, _, what = spec.partition(b"\n")
    policy, _, envelope = what.partition(b" ")
    misfire = next((each for each in MISFIRES if each.encode() == policy), None)
    try:
        if misfire is None:
            raise ValueError(f"unknown misfire policy {policy!r}")
        return schedule_from_json(orjson.loads(times)), misfire, envelope
    except (ValueError, TypeError, KeyError) as error:
        shown = name.decode("utf-8", "backslashreplace")
        raise CorruptJob(shown, f"schedule {shown!r} does not decode: {error}") from error


def read_recurring(name: bytes, spec: bytes, slot_us: int) -> Recurring:
    """A schedule as inspection shows it.

    Raises:
        CorruptJob: It does not decode.
    """
    schedule, misfire, envelope = _decode_spec(name, spec)
    job: Job[Any] = decode_job(Job, name, envelope)
    return Recurring(
        name=job.id,
        schedule=schedule,
        next_at=moment(slot_us),
        payload=job.payload,
        misfire=misfire,
        task=job.name,
        priority=job.priority,
        group=job.group,
        retry=job.retry,
        timeout=job.timeout,
    )


def plan(fire: Fire, now_us: int) -> tuple[int, list[tuple[bytes, bytes, int]]]:
    """What a due schedule does: its next slot, us, and its jobs as (id, envelope, due us).

    One that does not decode here, or has no slot any more, is left alone for a minute: for a newer worker, or a person.
    """
    try:
        schedule, misfire, envelope = _decode_spec(fire.name, fire.spec)
        slots, next_slot = due_slots(schedule, moment(fire.slot_us), moment(now_us), misfire)
    except (CorruptJob, InvalidJob) as error:
        _LOG.error("%s; it is left alone for a minute", error)
        return now_us + _POSTPONED_US, []
    jobs = [(fire.name + b"@" + _stamp(slot), envelope, instant_us("a slot", slot)) for slot in slots]
    return instant_us("a slot", next_slot), jobs


def _stamp(slot: datetime) -> bytes:
    return slot.isoformat().replace("+00:00", "Z").encode()
