"""A job's envelope: written by a producer, read by a worker, never rewritten in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from zqueue.envelope import NewJob, checked_text, decode_job, dump_json, when
from zqueue.errors import CorruptJob, InvalidJob, PayloadTooLarge
from zqueue.job import Job, JobState, Priority
from zqueue.retry import Retry, fixed, steps

CAP = 256 * 1024


def test_the_smallest_envelope() -> None:
    """A lane digit and the payload; an id, no time, and a holder of the id is kept."""
    assert NewJob(None, id="a").encode(CAP) == (b"a", b'1{"payload":null}', b"", b"")


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
        group='a"b',
        on_conflict="replace",
        keep_done=2,
    )
    name, envelope, when, replace = new.encode(CAP)
    assert (name.decode(), when, replace) == ("é", b"1000000", b"1")
    assert envelope.startswith(b'2{"group":"a\\"b","payload":')
    assert orjson.loads(envelope[1:]) == {
        "group": 'a"b',
        "payload": {"a": [1, "ü"]},
        "name": "send",
        "retry": [None, "steps", [60, 600], 31_622_400, 0.5],
        "timeout_us": 60_000_000,
        "keep_done_us": 2_000_000,
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
        NewJob(1, id="a", group="\\", keep_done=timedelta(days=1)),
    ],
)
def test_what_was_encoded_is_decoded(new: NewJob) -> None:
    """The two ends agree on every field."""
    name, envelope, _when, _replace = new.encode(CAP)
    timeout = None if new.timeout is None else timedelta(seconds=0.5)
    assert decode_job(Job, name, envelope, state=JobState.LEASED, deliveries=3) == Job(
        str(new.id),
        new.payload,
        new.name,
        new.group,
        state=JobState.LEASED,
        priority=new.priority,
        deliveries=3,
        retry=new.retry,
        timeout=timeout,
        keep_done=timedelta(days=new.id == "a"),
    )


def test_a_newer_producers_option_is_ignored() -> None:
    """An envelope with a field this version does not know still runs."""
    assert decode_job(Job, b"a", b'1{"payload":1,"colour":"red"}').payload == 1


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
        b'1{"payload":1,"group":5}',
        b'1{"payload":1,"keep_done_us":"long"}',
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
        decode_job(Job, b"a", envelope)
    assert caught.value.job_id == "a"


@pytest.mark.parametrize("envelope", [None, b""])
def test_no_envelope(envelope: bytes | None) -> None:
    """A missing envelope is told apart from a damaged one."""
    with pytest.raises(CorruptJob, match=r"^job 'a' has no envelope$"):
        decode_job(Job, b"a", envelope)


def test_a_foreign_id_is_made_readable() -> None:
    """A member that is no UTF-8 has a name for logs all the same."""
    assert decode_job(Job, b"a\xff", b'1{"payload":1}').id == "a\\xff"


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


def test_a_timeout_of_nothing_is_refused() -> None:
    """A timeout of 0 would fail every run at once; the error names it."""
    with pytest.raises(InvalidJob, match="timeout must be longer than 0"):
        NewJob("", timeout=0).encode(1000)


@pytest.mark.parametrize(("conflict", "replace"), [("keep", b""), ("raise", b""), ("replace", b"1")])
def test_what_the_script_hears_of_a_conflict(conflict: Any, replace: bytes) -> None:
    """Only replacing is the script's business; the caller raises by the answer."""
    assert NewJob(1, on_conflict=conflict).encode(CAP)[3] == replace


def test_an_unknown_conflict_is_refused() -> None:
    """The error names it and says what there is."""
    with pytest.raises(InvalidJob, match=r"^on_conflict must be keep, replace or raise, not 'drop'$"):
        NewJob(1, on_conflict="drop").encode(CAP)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "queues", "stored"),
    [(None, 0, None), (None, 5, 5), (timedelta(0), 5, None), (timedelta(seconds=1), 5, 1_000_000)],
)
def test_how_long_a_done_job_is_kept(own: timedelta | None, queues: int, stored: int | None) -> None:
    """The job's own word goes before the queue's, nothing included."""
    envelope = NewJob(1, keep_done=own).encode(CAP, queues)[1]
    assert orjson.loads(envelope[1:]).get("keep_done_us") == stored


@pytest.mark.parametrize("group", ["", "a\0b", "x" * 201, 5])
def test_a_group_that_cannot_be(group: Any) -> None:
    """A group is 1 to 200 bytes without control characters: the scripts put a NUL behind it."""
    with pytest.raises(InvalidJob, match=r"^group "):
        NewJob(1, group=group).encode(CAP)


@pytest.mark.parametrize(
    ("at", "delay", "words"),
    [
        (None, None, "give at or delay"),
        (datetime(2030, 1, 1, tzinfo=UTC), 1, "give at or delay, not both"),
        (datetime(2030, 1, 1), None, "at must be an aware datetime"),  # noqa: DTZ001
        (None, -1, "delay must be between 0 and 1,000 years, not -1"),
    ],
)
def test_a_new_time_that_cannot_be(at: datetime | None, delay: float | None, words: str) -> None:
    """`reschedule` takes exactly one of the two, and each as `enqueue` does."""
    with pytest.raises(InvalidJob, match=words):
        when(at, delay)


def test_a_new_time() -> None:
    """An instant as it is, a delay for the server's clock."""
    assert when(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None) == b"1000000"
    assert when(None, timedelta(milliseconds=2)) == b"+2000"


@pytest.mark.parametrize("value", [object(), float("inf"), {1, 2}, 2**70])
def test_what_json_cannot_carry(value: Any) -> None:
    """The error says what of it is not JSON."""
    with pytest.raises(InvalidJob, match=r"^the result is not JSON: "):
        dump_json("the result", value)
