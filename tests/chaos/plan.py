"""What a seed says: who is killed, and at which event of the run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

KILLS = {
    "api": 3,
    "worker": 4,
    "valkey": 3,
    "api+worker": 1,
    "api+valkey": 1,
    "worker+valkey": 1,
    "api+worker+valkey": 2,
}
"""Victims, killed in one go, and how often each set is drawn. All three at once is what a power cut leaves."""

FLUSHES = {"flush": 3, "worker+flush": 1, "api+flush": 1}
"""The same with FLUSHALL, after the kills."""

EVENTS = {
    "scheduled": 0.7,
    "sending": 0.7,
    "completed": 0.7,
    "enqueued": 0.25,
    "claimed": 0.25,
    "answered": 0.7,
    "stored": 0.7,
    "held read": 0.6,
    "held stored": 0.6,
}
"""What is counted, and the share of a burst's e-mails after which it has surely come up that often.

Lines of the journal; jobs and leases that Valkey notes (several at a time); answers with 201; messages durable at the
sink; messages at whose end, or between whose fsync and 250, the sink waits until the killing is done.
"""


@dataclass(frozen=True, slots=True)
class Strike:
    """One burst of e-mails, and what happens in it.

    Attributes:
        action: A key of `KILLS` or `FLUSHES`.
        event: A key of `EVENTS`.
        k: At which of them.
        emails: How many e-mails the burst schedules.
        settle: Whether everything comes to its end before the next strike.
    """

    action: str
    event: str
    k: int
    emails: int
    settle: bool

    @property
    def victims(self) -> tuple[str, ...]:
        """The processes to kill."""
        return tuple(part for part in self.action.split("+") if part != "flush")

    @property
    def flushes(self) -> bool:
        """Whether Valkey is emptied."""
        return "flush" in self.action.split("+")

    def __str__(self) -> str:
        return f"{self.action} at {self.event} {self.k}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        seed: Gives the same plan again, and the same traffic.
        connections: The worker's SMTP connections.
        refuse_every: The sink refuses every so manieth message with a 451; 0 for none.
    """

    seed: str
    strikes: tuple[Strike, ...]
    connections: int
    refuse_every: int


def draw(seed: str, runs: int, actions: dict[str, int], *, strikes: int = 1) -> list[Plan]:
    """The plans of *runs* runs with *strikes* strikes each: all actions and events come up as evenly as they can."""
    decks = random.Random(f"decks {seed}")
    next_action, next_event = _deck(decks, actions), _deck(decks, dict.fromkeys(EVENTS, 1))
    plans = []
    for run in range(runs):
        name = f"{seed}.{run}"
        rng = random.Random(f"run {name}")
        drawn = tuple(_strike(rng, next(next_action), next(next_event), last=n == strikes - 1) for n in range(strikes))
        plans.append(Plan(name, drawn, connections=rng.randint(1, 4), refuse_every=rng.choice((0, 0, 5, 7))))
    return plans


def _strike(rng: random.Random, action: str, event: str, *, last: bool) -> Strike:
    emails = rng.randint(12, 20)
    k = rng.randint(1, max(1, int(EVENTS[event] * emails)))
    return Strike(action, event, k, emails, settle=last or rng.random() < 0.5)


def _deck(rng: random.Random, cards: dict[str, int]) -> Iterator[str]:
    """Each of *cards* as often as it says, shuffled; and again."""
    while True:
        deck: Sequence[str] = [card for card, count in cards.items() for _ in range(count)]
        yield from rng.sample(deck, len(deck))
