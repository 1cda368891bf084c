"""What goes into the queue in plain Python, and what it answers. Times are integer microseconds."""

from typing import Literal, NamedTuple

CAP = 5_000_000
OVERDUE = 100_000
SEEN = 60_000_000
NEVER = 1 << 62

Answer = Literal["ok", "gone", "stolen"]
State = Literal["scheduled", "leased", "done", "dead"]


class New(NamedTuple):
    """A job to enqueue. *when*: microseconds since the epoch, "+us" from now, or "" for now."""

    id: str
    envelope: str
    when: str = ""
    replace: bool = False


class Item(NamedTuple):
    """How one run ended; *time* is a delay or, for an ack, how long the job is kept, *text* an error or a result."""

    id: str
    token: str
    verb: Literal["ack", "retry", "snooze", "bury", "release"]
    time: int = 0
    text: str = ""


class Claim(NamedTuple):
    """Who holds a job ("" if nobody), how often it was claimed, and when it had been due (done: until when kept)."""

    token: str
    deliveries: int
    due: int


class Failures(NamedTuple):
    """Failed attempts, and why the last one failed or the job died; None if neither happened."""

    attempts: int = 0
    error: str | None = None


class Limit(NamedTuple):
    """Microseconds between two starts, starts at once after a rest, and runs at a time; None for no limit."""

    interval: int | None
    burst: int
    most: int | None

    def __str__(self) -> str:
        interval, most = ("" if each is None else each for each in (self.interval, self.most))
        return f"{interval}:{self.burst}:{most}"


class Waiting(NamedTuple):
    """What a parked job waits for, and how it is ordered among those that wait for the same."""

    group: str
    lane: int
    due: int
    id: str

    def __str__(self) -> str:
        return f"{self.group}\0{self.lane}{self.due:016}{self.id}"


class Seen(NamedTuple):
    """A job as inspection shows it; *due* is None once it is done or dead."""

    id: str
    state: str
    score: int
    due: int | None
    envelope: str
    deliveries: int
    failures: Failures
    parked: bool
    progress: str | None
    result: str | None


class Delivery(NamedTuple):
    """A job as a claim gives it."""

    id: str
    envelope: str
    deliveries: int
    due: int
    failures: Failures


class Fire(NamedTuple):
    """A schedule that is due."""

    name: str
    slot: int
    spec: str


class Claimed(NamedTuple):
    """A claim's answer: *next* is how long to sleep; *more* asks for another claim at once."""

    now: int
    next: int
    more: bool
    fires: list[Fire]
    jobs: list[Delivery]
