"""Is each record's history a legal path of the state machine? Judged from the lines of the log alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_WAITING = ("scheduled", "retrying")
_BEGINNINGS = (("email.scheduled", "scheduled"), ("email.failed", "failed"))

STEPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "email.updated": {"scheduled": ("scheduled",), "retrying": ("retrying",)},
    "email.cancelled": {"scheduled": ("cancelled",), "retrying": ("cancelled",), "held": ("cancelled",)},
    "email.sending": {"scheduled": ("sending",), "retrying": ("sending",)},
    "email.completed": {"sending": ("completed",), "scheduled": ("completed",), "retrying": ("completed",)},
    "email.failed": dict.fromkeys((*_WAITING, "sending"), ("failed",)),
    "email.retrying": {"sending": ("retrying",)},
    "email.deferred": {"sending": ("retrying", "scheduled")},
    "email.held": {"sending": ("held",)},
    "email.requeued": {"held": ("scheduled",), "failed": ("scheduled",)},
    "recipient.bounced": {one: (one,) for one in ("completed", "failed", "held")},
}
"""Event -> status before -> statuses after; the life of an e-mail, written down a second time."""


def faults(log: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a log that was never compacted, given all of its lines; empty if nothing is."""
    found = []
    newest: dict[str, Mapping[str, Any]] = {}
    for expected, line in enumerate(log, 1):
        if line["seq"] != expected:
            found.append(f"line {expected} is missing; here is {line['seq']}")
        if "state" in line["data"]:
            found += _step(newest.get(line["id"]), line)
            newest[line["id"]] = line
    return found


def _step(before: Mapping[str, Any] | None, line: Mapping[str, Any]) -> list[str]:
    state, name = line["data"]["state"], f"{line['id']} rev {line['rev']} {line['type']}"
    if before is None:
        begins = line["rev"] == 1 and (line["type"], state["status"]) in _BEGINNINGS
        return [] if begins and "content" in line["data"] else [f"{name}: not how an e-mail begins"]
    was = before["data"]["state"]
    found = []
    if line["rev"] != before["rev"] + 1:
        found.append(f"{name}: after rev {before['rev']}")
    if state["status"] not in STEPS.get(line["type"], {}).get(was["status"], ()):
        found.append(f"{name}: from {was['status']} to {state['status']}")
    if state["run"] != was["run"] + (line["type"] == "email.sending"):
        found.append(f"{name}: run {was['run']} became {state['run']}")
    if state["gen"] < was["gen"]:
        found.append(f"{name}: gen {was['gen']} became {state['gen']}")
    if was["status"] == "sending" and line["type"] != "email.failed" and state["attempts"] < was["attempts"]:
        found.append(f"{name}: attempts {was['attempts']} became {state['attempts']}")
    return found
