"""Which steps an e-mail may take, and whether the lines of a journal keep to them: written anew from the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from service.store import lines
from service.store.segments import segment_key

Line = Mapping[str, Any]

_WAITING = ("scheduled", "retrying")
_STEPS = {
    ("-", "email.scheduled", "scheduled"),
    ("-", "email.failed", "failed"),
    *((status, "email.updated", status) for status in _WAITING),
    *((status, "email.cancelled", "cancelled") for status in (*_WAITING, "held")),
    *((status, "email.sending", "sending") for status in _WAITING),
    *((status, "email.failed", "failed") for status in (*_WAITING, "sending")),
    *((status, "email.completed", "completed") for status in (*_WAITING, "sending")),
    ("sending", "email.retrying", "retrying"),
    ("sending", "email.deferred", "retrying"),
    ("sending", "email.held", "held"),
    *((status, "email.requeued", "scheduled") for status in ("held", "failed")),
    *((status, "recipient.bounced", status) for status in ("completed", "failed", "held")),
}


def read(directory: Path) -> list[Line]:
    """Every line of the journal in *directory*, whatever a compaction made of it since."""
    segments = sorted((key, path) for path in directory.iterdir() if (key := segment_key(path.name)) is not None)
    found = [lines.decode(raw) for _, path in segments for raw in path.read_bytes().splitlines()]
    assert None not in found, "a line is damaged"
    return [line for line in found if line is not None]


def faults(journal: Iterable[Line]) -> list[str]:
    """What is wrong with the lines of a whole journal: a number that is missing, a step that is not allowed."""
    wrong = []
    before: dict[str, Line] = {}
    seq = 0
    for line in journal:
        seq += 1
        if line["seq"] != seq:
            wrong.append(f"line {seq} is missing, here is {line['seq']}")
            seq = line["seq"]
        if "state" in line["data"]:
            wrong += [f"line {seq}, {line['id']}: {what}" for what in _step(before.get(line["id"]), line)]
            before[line["id"]] = line
    return wrong


def _step(before: Line | None, line: Line) -> list[str]:
    state = line["data"]["state"]
    was = {"status": "-", "run": 0, "gen": 1, "attempts": 0} if before is None else before["data"]["state"]
    rev = 0 if before is None else before["rev"]
    step = was["status"], line["type"], state["status"]
    wrong = [] if step in _STEPS else [f"{step[0]} -> {step[2]} by {step[1]}"]
    if line["rev"] != rev + 1:
        wrong.append(f"revision {line['rev']} after {rev}")
    if state["run"] != was["run"] + (line["type"] == "email.sending"):
        wrong.append(f"run {state['run']} after {was['run']} by {line['type']}")
    new_job = state["gen"] - was["gen"]
    if new_job not in {"email.requeued": (1,), "email.updated": (0, 1)}.get(line["type"], (0,)):
        wrong.append(f"job {state['gen']} after {was['gen']} by {line['type']}")
    counted = state["attempts"] - was["attempts"]
    if line["type"] != "email.requeued" and (counted not in (0, 1) or (counted and was["status"] != "sending")):
        wrong.append(f"{state['attempts']} attempts after {was['attempts']} by {line['type']}")
    if (state["status"] == "sending") != ("by" in state):
        wrong.append(f"{state['status']} by {state.get('by')}")
    return wrong
