"""What happened in one run, as its witnesses tell it: the client, the journal, the sink, and who did the killing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One `email.sending` of the journal.

    Attributes:
        by: The process that made it.
        died: Whether the next line says that this process died before it wrote an outcome.
    """

    by: str
    died: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One e-mail of the journal."""

    message_id: str
    status: str
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """One message that the sink took responsibility for.

    Attributes:
        session: The connection that it came over.
        client: The name that the other end gave in EHLO: each worker process has its own.
        digest: SHA-256 of its bytes.
    """

    message_id: str
    session: int
    client: str
    digest: str


@dataclass(frozen=True, slots=True)
class WorkerKill:
    """A worker that was killed: its name in EHLO, its name in the journal, and how many connections it may have had."""

    client: str
    by: str
    connections: int


@dataclass(frozen=True, slots=True)
class History:
    """Everything the checker knows.

    Attributes:
        acknowledged: What a 201 was answered for: id to Message-ID.
        records: The journal, by id.
        copies: What the sink has, in order.
        kills: The workers that were killed; no other kill explains a duplicate.
    """

    acknowledged: Mapping[str, str]
    records: Mapping[str, Record]
    copies: Sequence[Copy]
    kills: Sequence[WorkerKill]


def whole_writes(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The lines of every whole write at the start of *content*, and where the last one ends.

    A write is whole with its line that says ``end``; what follows is being written, or was torn.
    """
    lines: list[dict[str, Any]] = []
    pending: list[dict[str, Any]] = []
    end = offset = 0
    for raw in content.splitlines(keepends=True):
        try:
            line = json.loads(raw) if raw.endswith(b"\n") else None
        except ValueError:
            line = None
        if line is None:
            break
        offset += len(raw)
        pending.append(line)
        if "end" in line:
            lines += pending
            pending, end = [], offset
    return lines, end


def read_journal(directory: Path) -> dict[str, Record]:
    """The records in the journal of a data directory."""
    content = b"".join(path.read_bytes() for path in sorted(directory.glob("journal-*.jsonl")))
    by_email: dict[str, list[dict[str, Any]]] = {}
    for line in whole_writes(content)[0]:
        if "state" in line["data"]:  # of an e-mail, not of a template or schedule
            by_email.setdefault(line["id"], []).append(line)
    return {email_id: _record(lines) for email_id, lines in by_email.items()}


def read_copies(log: Path) -> list[Copy]:
    """What the sink's log holds."""
    return [Copy(**json.loads(line)) for line in log.read_text().splitlines()]


def _record(lines: Sequence[dict[str, Any]]) -> Record:
    attempts = tuple(
        Attempt(line["data"]["state"]["by"], died=_says_died(line, following))
        for line, following in zip(lines, [*lines[1:], None], strict=True)
        if line["type"] == "email.sending"
    )
    return Record(lines[0]["data"]["content"]["message_id"], lines[-1]["data"]["state"]["status"], attempts)


def _says_died(sending: dict[str, Any], following: dict[str, Any] | None) -> bool:
    """An unknown outcome that did not count is that of a dead process; one of a live process counts."""
    if following is None:
        return False
    before, after = sending["data"]["state"], following["data"]["state"]
    unknown = following["type"] == "email.retrying" and after.get("reason") == "unknown"
    return unknown and bool(after["attempts"] == before["attempts"])
