"""E-mails as JSON."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.email.document import content_from_json, content_to_json, public, state_from_json, state_to_json
from service.email.record import Content, Recipient, RecipientStatus, State, Status
from tests.unit.email_records import fresh

_MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
CONTENTS = st.builds(
    Content,
    sender=_TEXT,
    to=_TEXTS,
    subject=_TEXT,
    message_id=_TEXT,
    cc=_TEXTS,
    bcc=_TEXTS,
    reply_to=_TEXTS,
    text=st.none() | _TEXT,
    html=st.none() | _TEXT,
    headers=st.dictionaries(_TEXT, _TEXT, max_size=3),
    tags=_TEXTS,
)
STATES = st.builds(
    State,
    status=st.sampled_from(Status),
    recipients=st.lists(
        st.builds(
            Recipient,
            _TEXT,
            st.sampled_from(RecipientStatus),
            st.none() | st.integers(200, 599),
            st.none() | _TEXT,
        ),
        max_size=3,
    ).map(tuple),
    scheduled_at=_MOMENTS,
    max_retries=st.integers(0, 100),
    retry_until=_MOMENTS,
    next_attempt_at=st.none() | _MOMENTS,
    reason=st.none() | _TEXT,
    gen=st.integers(1, 9),
    run=st.integers(0, 9),
    attempts=st.integers(0, 9),
    last_error=st.none() | _TEXT,
    by=st.none() | _TEXT,
    sending_since=st.none() | _MOMENTS,
    date=st.none() | _MOMENTS,
    digest=st.none() | _TEXT,
)


@given(CONTENTS)
def test_a_content_survives_the_journal(content: Content) -> None:
    """What is read back from JSON equals what was written."""
    assert content_from_json(orjson.loads(orjson.dumps(content_to_json(content)))) == content


@given(STATES)
def test_a_state_survives_the_journal(state: State) -> None:
    """What is read back from JSON equals what was written, to the microsecond."""
    assert state_from_json(orjson.loads(orjson.dumps(state_to_json(state)))) == state


def test_the_journal_leaves_out_what_has_its_default() -> None:
    """A first state is written without its empty fields."""
    assert state_to_json(fresh().state) == {
        "status": "scheduled",
        "recipients": [
            {"address": "b@example.com", "status": "pending"},
            {"address": "c@example.com", "status": "pending"},
        ],
        "scheduled_at": "2026-11-24T12:00:00.000000Z",
        "max_retries": 3,
        "retry_until": "2026-11-29T12:00:00.000000Z",
        "gen": 1,
        "run": 0,
        "attempts": 0,
        "next_attempt_at": "2026-11-24T12:00:00.000000Z",
    }


@pytest.mark.parametrize(
    "document", [{}, {"status": "asleep"}, state_to_json(fresh().state) | {"scheduled_at": "yesterday"}]
)
def test_a_foreign_state_is_refused(document: dict[str, object]) -> None:
    """A document that no writer made raises instead of becoming some record."""
    with pytest.raises((KeyError, ValueError)):
        state_from_json(document)


def test_the_public_record_has_every_field() -> None:
    """The record of the API names every field, with times in UTC, and bodies only when asked."""
    email = fresh()
    state = replace(
        email.state,
        status=Status.RETRYING,
        reason="temporary",
        attempts=1,
        last_error="451 later",
        next_attempt_at=email.created_at + timedelta(seconds=60),
        recipients=(Recipient("b@example.com", RecipientStatus.PENDING, 451, "later"),),
    )
    shown = public(replace(email, rev=3, state=state))
    assert shown == {
        "id": "em_X",
        "object": "email",
        "status": "retrying",
        "reason": "temporary",
        "rev": 3,
        "message_id": "<em_X@example.com>",
        "from": "a@example.com",
        "to": ["b@example.com", "c@example.com"],
        "cc": [],
        "bcc": [],
        "reply_to": [],
        "subject": "Hello",
        "headers": {},
        "tags": [],
        "template": None,
        "envelope_from": None,
        "attachments": [],
        "created_at": "2026-11-24T12:00:00.000000Z",
        "scheduled_at": "2026-11-24T12:00:00.000000Z",
        "next_attempt_at": "2026-11-24T12:01:00.000000Z",
        "attempts": 1,
        "max_retries": 3,
        "retry_until": "2026-11-29T12:00:00.000000Z",
        "last_error": "451 later",
        "recipients": [{"address": "b@example.com", "status": "pending", "code": 451, "reply": "later"}],
    }
    assert public(email, body=True) == public(email) | {"text": "Hi", "html": None}
