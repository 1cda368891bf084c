"""The jobs that carry e-mails: their ids, payloads and groups."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.email import jobs
from service.email.record import Recipient, RecipientStatus
from tests.unit.email_records import fresh


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["a@example.com"], "example.com"),
        (["a@example.com", "b@EXAMPLE.com"], "example.com"),
        (["a@example.com", "b@example.org"], jobs.MIXED),
        (["a@example.com", "b@sub.example.com"], jobs.MIXED),
        (["zoë@bücher.example"], "xn--bcher-kva.example"),
        (["a@bücher.example", "b@xn--bcher-kva.example"], "xn--bcher-kva.example"),
    ],
)
def test_a_group_is_the_one_domain(addresses: list[str], expected: str) -> None:
    """All recipients of one domain, however it is written, or the group of all that go to several."""
    email = fresh()
    recipients = tuple(map(Recipient, addresses))
    assert jobs.group_of(replace(email, state=replace(email.state, recipients=recipients))) == expected


def test_a_group_stays_as_recipients_get_theirs() -> None:
    """The group does not depend on who still waits, so that every job of an e-mail has the same."""
    email = fresh()
    one, two = Recipient("a@example.com", RecipientStatus.ACCEPTED), Recipient("b@example.org")
    assert jobs.group_of(replace(email, state=replace(email.state, recipients=(one, two)))) == jobs.MIXED


@pytest.mark.parametrize(
    ("job_id", "expected"),
    [
        ("em_X.1", ("em_X", 1)),
        ("em_X.999999999", ("em_X", 999_999_999)),
        ("em_X", None),
        ("em_X.", None),
        ("em_X.1.5", ("em_X.1", 5)),
        ("em_X.²", None),
        ("em_X.1000000000", None),
    ],
)
def test_a_jobs_id_is_split(job_id: str, expected: tuple[str, int] | None) -> None:
    """The e-mail's id and the generation, or None for what is no such id."""
    assert jobs.split(job_id) == expected


@pytest.mark.parametrize("payload", [None, [], {"store": 5}, {}])
def test_a_strange_payload_names_no_store(payload: object) -> None:
    """Whatever is in the queue is looked at without failing."""
    assert jobs.store_of(payload) is None
    assert jobs.store_of(jobs.payload("s")) == "s"
