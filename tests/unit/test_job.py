"""A job's envelope: written by a producer, read by a worker, never rewritten in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from zqueue.clock import moment
from zqueue.envelope import NewJob, checked_text, decode_job
from zqueue.errors import CorruptJob, InvalidJob, PayloadTooLarge
from zqueue.job import Job, JobState, Priority
from zqueue.retry import Retry, fixed, steps

CAP = 256 * 1024


def test_the_smallest_envelope() -> None:
    """A lane digit and the payload; an id and no time."""
    assert NewJob(None, id="a").encode(CAP) == (b"a", b'1{"payload":null}', b"")


def test_the_largest_envelope() -> None:
    """Every option, each only when it was given."""
    new = NewJob(
        {"a": [1, "ü"]},
        id="é",
        at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        priority=Priority.LOW,
        retry=Retry(None, steps(60, 600, jitter=0.5)),
        timeout=timedelta(minutes=1),
        name="send",
    )
    name, envelope, when = new.encode(CAP)
    assert (name.decode(), when) == ("é", b"1000000")
    assert envelope[:1] == b"2"
    assert orjson.loads(envelope[1:]) == {
        "payload": {"a": [1, "ü"]},
        "name": "send",
        "retry": [None, "steps", [60, 600], 31_622_400, 0.5],
        "timeout_us": 60_000_000,
    }


@pytest.mark.parametrize(
    ("delay", "when"), [(0, b"+0"), (1.5, b"+1500000"), (timedelta(days=1), b"+86400000000"), (None, b"")]
)
def test_a_delay_is_for_the_servers_clock(delay: timedelta | float | None, when: bytes) -> None:
    """It is sent as a delay, so that a wrong clock here changes nothing."""
    assert NewJob(1, delay=delay).encode(CAP)[2] == when


def test_a_generated_id() -> None:
    """Without an id each encoding makes one."""
    new = NewJob(1)
    first, second = new.encode(CAP)[0], new.encode(CAP)[0]
    assert len(first) == len(second) == 26
    assert first < second


@pytest.mark.parametrize(
    "new",
    [
        NewJob({"x": [None, 1.5, "☃"]}, id="a b"),
        NewJob("", id="ünï", priority=Priority.HIGH, retry=Retry(2, fixed(9, jitter=True)), timeout=0.5, name="n"),
    ],
)
def test_what_was_encoded_is_decoded(new: NewJob) -> None:
    """The two ends agree on every field."""
    name, envelope, _when = new.encode(CAP)
    timeout = None if new.timeout is None else timedelta(seconds=0.5)
    assert decode_job(name, envelope, state=JobState.LEASED, deliveries=3) == Job(
        str(new.id),
        new.payload,
        new.name,
        state=JobState.LEASED,
        priority=new.priority,
        deliveries=3,
        retry=new.retry,
        timeout=timeout,
    )


def test_a_newer_producers_option_is_ignored() -> None:
    """An envelope with a field this version does not know still runs."""
    assert decode_job(b"a", b'1{"payload":1,"colour":"red"}').payload == 1


@pytest.mark.parametrize(
    "envelope",
    [
        b"1",
        b"1{",
        b"1[]",
        b"1null",
        b"1{}",
        b'{"payload":1}',
        b'9{"payload":1}',
        b'x{"payload":1}',
        b"\xff\xfe",
        b'1{"payload":1,"name":5}',
        b'1{"payload":1,"name":["a"]}',
        b'1{"payload":1,"retry":3}',
        b'1{"payload":1,"retry":[3,"fixed",["x"],1,0]}',
        b'1{"payload":1,"timeout_us":"soon"}',
        b'1{"payload":1,"timeout_us":1e300}',
        b'1{"payload":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_what_does_not_decode(envelope: bytes) -> None:
    """Whatever is stored, the only error is `CorruptJob`, with the job's id."""
    with pytest.raises(CorruptJob, match=r"^job 'a' has an envelope that does not decode: ") as caught:
        decode_job(b"a", envelope)
    assert caught.value.job_id == "a"


@pytest.mark.parametrize("envelope", [None, b""])
def test_no_envelope(envelope: bytes | None) -> None:
    """A missing envelope is told apart from a damaged one."""
    with pytest.raises(CorruptJob, match=r"^job 'a' has no envelope$"):
        decode_job(b"a", envelope)


def test_a_foreign_id_is_made_readable() -> None:
    """A member that is no UTF-8 has a name for logs all the same."""
    assert decode_job(b"a\xff", b'1{"payload":1}').id == "a\\xff"


def test_the_cap_counts_the_payloads_bytes() -> None:
    """Exactly the limit is fine; the envelope's own bytes do not count."""
    assert NewJob("ü" * 4).encode(10)[1] == b'1{"payload":"' + "üüüü".encode() + b'"}'
    with pytest.raises(PayloadTooLarge, match=r"^payload of 11 bytes is over the limit of 10$"):
        NewJob("ü" * 4 + "x").encode(10)


def test_a_null_that_is_no_nan() -> None:
    """The word null, in a string or as a value, is no sign of a NaN; a NaN beside one is found."""
    assert b"null" in NewJob({"a": None, "b": "null", "c": [1.5, (2,)]}).encode(CAP)[1]
    with pytest.raises(InvalidJob, match="NaN or an infinity"):
        NewJob({"a": None, "b": [1.5, (2, float("nan"))]}).encode(CAP)


@pytest.mark.parametrize("subclass", [type("Text", (str,), {}), type("Map", (dict,), {}), type("Int", (int,), {})])
def test_a_subclass_is_no_json(subclass: type) -> None:
    """What would come back as something else is refused."""
    with pytest.raises(InvalidJob, match=r"^the payload is not JSON: "):
        NewJob(subclass()).encode(CAP)


def test_checked_text_gives_back_what_is_right() -> None:
    """Any printable text of 1 to 200 bytes."""
    for text in ("a", " ", "\u00a0", "x" * 200, "☃" * 66):
        assert checked_text("id", text) == text


@pytest.mark.parametrize("char", [*map(chr, range(32)), "\x7f", *map(chr, range(0x80, 0xA0))])
def test_control_characters(char: str) -> None:
    """None of C0, DEL and C1, wherever it stands."""
    with pytest.raises(InvalidJob, match=r"^id holds a control character: "):
        checked_text("id", f"a{char}b")


def test_times_of_a_job() -> None:
    """A due time while it has one, an end only when dead; the run's number counts from 1."""
    us: Any = 1_900_000_000_000_000
    job = Job("a", 1, due_us=us, score_us=us, attempts=2)
    assert (job.due_at, job.ended_at, job.attempt) == (moment(us), None, 3)
    dead = Job("a", 1, state=JobState.DEAD, score_us=us)
    assert (dead.due_at, dead.ended_at, dead.attempt) == (None, moment(us), 1)
    assert Job("a", 1, state=JobState.DEAD).ended_at is None


def test_a_timeout_of_nothing_is_refused() -> None:
    """A timeout of 0 would fail every run at once; the error names it."""
    with pytest.raises(InvalidJob, match="timeout must be longer than 0"):
        NewJob("", timeout=0).encode(1000)
