"""The states of the wake model: the server, all workers, and what is on its way between them."""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from tests.unit.wake_worker import CLOSED, GHOST, ISSUED, ORPHANED, Change, Worker, but

T = TypeVar("T", int, Worker)


class State(NamedTuple):
    """The server, all workers, and what is on its way. Nobody is blocked while there is a token."""

    dues: tuple[int, ...]  # of the jobs nobody runs, sorted
    token: bool
    nudge: bool  # one or more are on their way to the server
    paused: bool
    blocked: tuple[Worker, ...]  # in the order in which their BLPOPs came
    others: tuple[Worker, ...]  # sorted
    crashes: int  # still allowed
    late: int  # time steps for which a due job and a free slot have been together

    def __str__(self) -> str:
        flags = [name for name in ("token", "nudge", "paused") if getattr(self, name)]
        lists = (f"{name} {' '.join(map(str, getattr(self, name)))}" for name in ("blocked", "others"))
        return "; ".join([f"due {list(self.dues)}", *flags, *lists])


def in_order(*items: T) -> tuple[T, ...]:
    """Sort *items*."""
    return tuple(sorted(items))


def each(s: State) -> Iterator[tuple[int, Worker]]:
    """Name the workers with their places; of several that are alike and not blocked, one."""
    yield from enumerate(s.blocked)
    last = None
    for at, worker in enumerate(s.others, len(s.blocked)):
        if worker != last:
            yield at, worker
        last = worker


def pushed(s: State) -> State:
    """RPUSH the token unless there is one; the server gives it to the first that is blocked."""
    dues, token, nudge, paused, blocked, others, crashes, late = s
    if token:
        return s
    if not blocked:
        return State(dues, True, nudge, paused, blocked, others, crashes, late)
    if blocked[0] != GHOST:
        others = in_order(*others, but(blocked[0], popped=not blocked[0].leaving))
    return State(dues, False, nudge, paused, blocked[1:], others, crashes, late)


def put(s: State, at: int, worker: Worker) -> State:
    """Replace the worker at *at*, which stays blocked if it was."""
    return applied(s, at, Change("", worker))


def applied(s: State, at: int, change: Change) -> State:
    """Replace the worker at *at* by what became of it, and take in what it sent."""
    dues, token, nudge, paused, blocked, others, crashes, late = s
    worker = change.worker
    nudge = nudge or change.nudge
    other = at - len(blocked)
    if other < 0 and change.blpop < CLOSED:
        blocked = (*blocked[:at], worker, *blocked[at + 1 :])
        return State(dues, token, nudge, paused, blocked, others, crashes, late)
    if other < 0:
        ghost = (GHOST,) if change.blpop == ORPHANED and GHOST not in blocked else ()
        blocked = blocked[:at] + ghost + blocked[at + 1 :]
    else:
        others = others[:other] + others[other + 1 :]
        if change.blpop == ISSUED and not worker.popped:
            if not token:
                return State(dues, token, nudge, paused, (*blocked, worker), others, crashes, late)
            token, worker = False, but(worker, popped=True)
    return State(dues, token, nudge, paused, blocked, in_order(*others, worker), crashes, late)
