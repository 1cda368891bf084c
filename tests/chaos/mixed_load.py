"""Two APIs and two workers on one data directory, while everything is asked of them at once.

    python -m tests.chaos.mixed_load [SECONDS]

At the end every record's history is a legal path, revisions and line numbers have no gap, both APIs say the same of
every e-mail, and each e-mail that was answered for is there.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.running import LEAST, Service, ahead, eventually
from tests.chaos import paths

_FINAL = frozenset({"completed", "failed", "cancelled", "held"})
_THREADS = 3  # for each API


@dataclass(slots=True)
class Report:
    """What one run came to.

    Attributes:
        faults: Whatever is wrong; empty if nothing is.
        answers: How often each request was answered with each status.
        statuses: How many e-mails ended in each.
    """

    faults: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)


class _Load:
    """Asks for this and that until it is told to stop; one for each thread."""

    def __init__(self, service: Service, known: list[str], seed: int) -> None:
        self.answers: Counter[str] = Counter()
        self.created: list[str] = []
        self.error: BaseException | None = None
        self._service = service
        self._known = known
        self._rng = random.Random(seed)

    def run(self, stop: threading.Event) -> None:
        """Go on until *stop*."""
        acts: list[Callable[[], None]] = [
            self._create, self._create, self._create_batch, self._cancel, self._patch, self._retry, self._document,
            self._read,
        ]  # fmt: skip
        try:
            while not stop.is_set():
                self._rng.choice(acts)()
        except BaseException as error:  # told to who waits for the thread
            self.error = error

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        answer = self._service.http.request(method, path, json=body)
        what = f"{method} {path.split('/')[2]}"
        self.answers[f"{what} {answer.status_code}"] += 1
        if answer.status_code >= 500:
            raise AssertionError(f"{what}: {answer.status_code} {answer.text}")
        return answer.json() if answer.status_code < 300 and answer.content else None

    def _email(self) -> dict[str, Any]:
        return LEAST | {"scheduled_at": ahead(self._rng.choice((0, 0.2, 1, 3, 3600))), "to": "you@example.com"}

    def _create(self) -> None:
        made = self._ask("POST", "/v1/emails", self._email())
        if made is not None:
            self._add([made["id"]])

    def _create_batch(self) -> None:
        made = self._ask("POST", "/v1/emails/batch", {"emails": [self._email() for _ in range(5)]})
        if made is not None:
            self._add([one["id"] for one in made["data"]])

    def _add(self, names: list[str]) -> None:
        self.created += names
        self._known += names

    def _any(self) -> str | None:
        return self._rng.choice(self._known[-200:]) if self._known else None

    def _cancel(self) -> None:
        if name := self._any():
            self._ask("POST", f"/v1/emails/{name}/cancel")

    def _retry(self) -> None:
        if name := self._any():
            self._ask("POST", f"/v1/emails/{name}/retry")

    def _patch(self) -> None:
        if name := self._any():
            change = self._rng.choice(({"scheduled_at": ahead(0.5)}, {"subject": "Changed"}, {"max_retries": 1}))
            self._ask("PATCH", f"/v1/emails/{name}", change)

    def _document(self) -> None:
        name = f"t{self._rng.randrange(5)}"
        self._ask("PUT", f"/v1/templates/{name}", {"subject": f"{self._rng.random()}", "text": "Hi"})

    def _read(self) -> None:
        self._ask("GET", "/v1/emails?limit=20&q=hello")


def run(folder: Path, seconds: float, seed: int = 1) -> Report:
    """One run in *folder*, with load for so many seconds."""
    report = Report()
    with Service(folder / "a") as first, Service(folder / "b", data_dir=first.data_dir) as second:
        known: list[str] = []
        stop = threading.Event()
        loads = [_Load(service, known, seed + n) for n, service in enumerate([first, second] * _THREADS)]
        threads = [threading.Thread(target=load.run, args=(stop,)) for load in loads]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread, load in zip(threads, loads, strict=True):
            thread.join()
            report.answers += load.answers
            if load.error is not None:
                report.faults.append(f"{load.error!r}")
        created = [name for load in loads for name in load.created]
        _wait(first, second, created, report)
    lines = [json.loads(line) for line in (first.data_dir / "journal-0-0000.jsonl").read_text().splitlines()]
    report.faults += paths.faults(lines)
    in_log = {line["id"] for line in lines if "state" in line["data"]}
    report.faults += [f"{name} was answered for and is not there" for name in created if name not in in_log]
    return report


def _wait(first: Service, second: Service, created: list[str], report: Report) -> None:
    """Until nothing is under way but what is far ahead; then both must say the same."""

    def is_quiet() -> bool:
        waiting = first.http.get("/v1/emails", params={"status": "sending", "limit": 1}).json()["data"]
        soon: dict[str, str] = {"status": "scheduled", "scheduled_before": ahead(600), "limit": "1"}
        return not waiting and not first.http.get("/v1/emails", params=soon).json()["data"]

    eventually(is_quiet, "that all that is due was sent", timeout=120)
    for name in created:
        one, other = (service.http.get(f"/v1/emails/{name}").json() for service in (first, second))
        report.statuses[one["status"]] += 1
        if one != other:
            report.faults.append(f"{name}: one API says {one}, the other {other}")


def main() -> int:
    """Run it and tell."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory(prefix="zqueue-mixed") as folder:
        report = run(Path(folder), seconds)
    for name, count in sorted(report.answers.items()):
        print(f"{count:8,}  {name}")
    print(f"e-mails: {dict(report.statuses)}")
    print("\n".join(report.faults) or "every history is legal, no gap, both agree")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
