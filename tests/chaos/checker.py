"""The judge: what a history holds against the service.

A duplicate is forgiven only to a worker that was killed between the sink's acceptance and its own durable outcome: the
earlier copy came from that worker, it was the last message on its connection, and the journal says that its run ended
by the death of the process. So there is at most one for each connection that was open at the kill.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.history import FINAL, History, WorkerKill


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found. All but the two counts are violations, as e-mail ids or Message-IDs.

    Attributes:
        lost: Acknowledged, and not at the sink.
        forgotten: Acknowledged, and not in the journal.
        unfinished: In the journal, and neither completed nor failed nor cancelled.
        failed: Failed although the sink never refused for good.
        unsent: Completed in the journal, and not at the sink.
        phantoms: At the sink, and never accepted.
        altered: At the sink with different bytes.
        unattributed: Duplicates that no kill explains, a Message-ID for each.
        excess: EHLO names of workers whose kill explains more duplicates than it had connections.
        attributed: Duplicates that a kill explains.
        unacknowledged: E-mails that are at the sink though their client never got an answer.
    """

    lost: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    phantoms: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    unattributed: tuple[str, ...] = ()
    excess: tuple[str, ...] = ()
    attributed: int = 0
    unacknowledged: int = 0

    @property
    def violations(self) -> dict[str, tuple[str, ...]]:
        """What is wrong, by name; empty when nothing is."""
        found = {name: getattr(self, name) for name in VIOLATIONS}
        return {name: items for name, items in found.items() if items}


VIOLATIONS = ("lost", "forgotten", "unfinished", "failed", "unsent", "phantoms", "altered", "unattributed", "excess")


def check(history: History) -> Verdict:
    """Judge *history*."""
    at_sink: dict[str, list[int]] = defaultdict(list)
    for place, copy in enumerate(history.copies):
        at_sink[copy.message_id].append(place)
    accepted = {record.message_id for record in history.records.values()}
    answered = set(history.acknowledged.values())
    explanations = dict(_explained(history))
    unattributed: list[str] = []
    blamed: Counter[WorkerKill] = Counter()
    for message_id, places in at_sink.items():
        kills = [explanations[place] for place in places if place in explanations]
        # One copy of each is no duplicate: the one that no kill explains, where there is one.
        unexplained = len(places) - len(kills)
        unattributed += [message_id] * max(0, unexplained - 1)
        blamed.update(kills if unexplained else kills[:-1])
    records = history.records
    return Verdict(
        lost=tuple(email_id for email_id, message_id in history.acknowledged.items() if message_id not in at_sink),
        forgotten=tuple(history.acknowledged.keys() - records.keys()),
        unfinished=tuple(email_id for email_id, record in records.items() if record.status not in FINAL),
        failed=tuple(email_id for email_id, record in records.items() if record.status == "failed"),
        unsent=tuple(
            email_id
            for email_id, record in records.items()
            if record.status == "completed" and record.message_id not in at_sink
        ),
        phantoms=tuple(message_id for message_id in at_sink if message_id not in accepted | answered),
        altered=tuple(
            message_id
            for message_id, places in at_sink.items()
            if len({history.copies[place].digest for place in places}) > 1
        ),
        unattributed=tuple(unattributed),
        excess=tuple(kill.client for kill, count in blamed.items() if count > kill.connections),
        attributed=blamed.total(),
        unacknowledged=len(at_sink.keys() & accepted - answered),
    )


def _explained(history: History) -> Iterator[tuple[int, WorkerKill]]:
    """The copies whose acceptance a killed worker may not have heard of, and its kill."""
    last = {copy.session: place for place, copy in enumerate(history.copies)}
    killed = {kill.client: kill for kill in history.kills}
    deaths = Counter(
        (record.message_id, attempt.by)
        for record in history.records.values()
        for attempt in record.attempts
        if attempt.died
    )
    for place in last.values():
        copy = history.copies[place]
        kill = killed.get(copy.client)
        if kill is not None and deaths[copy.message_id, kill.by] > 0:
            deaths[copy.message_id, kill.by] -= 1
            yield place, kill
