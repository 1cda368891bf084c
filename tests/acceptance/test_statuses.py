"""What a relay answers, and what becomes of the e-mail: refused for now, for good, for some; cancelled; tried again."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.conftest import RETRY_DELAYS
from tests.acceptance.relay import Relay
from tests.acceptance.running import Service, ahead, eventually, moment
from tests.smtpd import reply

LATER = reply(451, "4.7.1 greylisted, try again later")
NOBODY = reply(550, "5.1.1 no such user here")
JITTER = 0.1

_numbers = itertools.count(1)


@pytest.fixture
def address() -> str:
    """A recipient of the test's own, by which the relay's script and its messages tell the tests apart."""
    return f"someone{next(_numbers)}@example.com"


def refusal(service: Service, email_id: str, step: str) -> tuple[int, str, str]:
    """Status, code and sentence of the answer to a step that is not allowed."""
    response = service.http.post(f"/v1/emails/{email_id}/{step}")
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"], response.json()["detail"]


def assert_delays_follow_the_policy(history: list[dict[str, Any]]) -> None:
    """Each `retrying` names a time that the policy allows, and the next run begins then, not before."""
    delays = iter(RETRY_DELAYS)
    for event, following in itertools.pairwise(history):
        if event["type"] != "email.retrying":
            continue
        policy = next(delays)
        at, again = moment(event["at"]), moment(event["data"]["next_attempt_at"])
        delay = (again - at).total_seconds()
        assert policy * (1 - JITTER) - 0.1 <= delay <= policy * (1 + JITTER), "the event is written a little later"
        assert following["type"] == "email.sending"
        assert timedelta(0) <= moment(following["at"]) - again < timedelta(seconds=1)


def test_refused_twice_then_sent(relayed: Service, relay: Relay, address: str) -> None:
    """451 to the first two attempts: retrying, retrying, completed; the same message each time."""
    relay.script({"dot": [LATER, LATER]})
    email_id = relayed.accept(to=address)["id"]
    waiting = relayed.wait_for(email_id, "retrying")
    assert waiting["last_error"] == "451 4.7.1 greylisted, try again later"
    assert waiting["reason"] == "temporary"
    told = [event for event in relayed.events(email_id) if event["type"] == "email.retrying"]
    assert waiting["next_attempt_at"] in [event["data"]["next_attempt_at"] for event in told]
    done = relayed.wait_for(email_id, "completed")
    history = relayed.events(email_id)
    assert [event["type"] for event in history] == [
        "email.scheduled",
        "email.sending",
        "email.retrying",
        "email.sending",
        "email.retrying",
        "email.sending",
        "email.completed",
    ]
    assert [event["run"] for event in history if event["type"] == "email.sending"] == [1, 2, 3]
    assert (done["attempts"], done["next_attempt_at"], done["reason"]) == (3, None, None)
    assert_delays_follow_the_policy(history)
    (message,) = relay.received(address)
    assert message.message_id == done["message_id"]


def test_refused_for_ever_fails(relayed: Service, relay: Relay, address: str) -> None:
    """451 for ever: four attempts, which are three retries, then failed, with the server's words in the record."""
    relay.script({f"rcpt:{address}": LATER})
    email_id = relayed.accept(to=address)["id"]
    failed = relayed.wait_for(email_id, "failed")
    assert relayed.event_types(email_id) == ["scheduled", *["sending", "retrying"] * 3, "sending", "failed"]
    assert (failed["attempts"], failed["max_retries"], failed["reason"]) == (4, 3, "exhausted")
    assert failed["last_error"] == "451 4.7.1 greylisted, try again later"
    assert failed["recipients"] == [
        {"address": address, "status": "refused", "code": 451, "reply": "4.7.1 greylisted, try again later"}
    ]
    assert_delays_follow_the_policy(relayed.events(email_id))
    assert relay.received(address) == []


def test_refused_for_good_fails_at_once(relayed: Service, relay: Relay, address: str) -> None:
    """550: failed after one attempt, with the server's words."""
    relay.script({f"rcpt:{address}": NOBODY})
    email_id = relayed.accept(to=address)["id"]
    failed = relayed.wait_for(email_id, "failed")
    assert relayed.event_types(email_id) == ["scheduled", "sending", "failed"]
    assert (failed["attempts"], failed["reason"]) == (1, "refused")
    assert "550 5.1.1 no such user here" in failed["last_error"]
    assert failed["recipients"] == [
        {"address": address, "status": "refused", "code": 550, "reply": "5.1.1 no such user here"}
    ]


def test_no_retries_when_none_are_wanted(relayed: Service, relay: Relay, address: str) -> None:
    """max_retries of an e-mail goes before the setting."""
    relay.script({f"rcpt:{address}": LATER})
    email_id = relayed.accept(to=address, max_retries=0)["id"]
    assert relayed.wait_for(email_id, "failed")["attempts"] == 1


def test_only_those_that_still_need_it_get_it_again(relayed: Service, relay: Relay, address: str) -> None:
    """Of three recipients one is accepted, one refused for now and one for good: the retry is for the second alone."""
    slow, gone = f"slow-{address}", f"gone-{address}"
    relay.script({f"rcpt:{slow}": [LATER], f"rcpt:{gone}": NOBODY})
    email_id = relayed.accept(to=[address, slow], bcc=gone)["id"]
    done = relayed.wait_for(email_id, "completed")
    assert {one["address"]: (one["status"], one["code"]) for one in done["recipients"]} == {
        address: ("accepted", 250),
        slow: ("accepted", 250),
        gone: ("refused", 550),
    }
    assert [one.recipients for one in relay.received(address) + relay.received(slow)] == [(address,), (slow,)]


def test_cancelled_before_it_is_due(relayed: Service, relay: Relay, address: str) -> None:
    """Nothing is sent, not even once the time has come; cancelling again is the same."""
    relay.script({})
    email_id = relayed.accept(to=address, scheduled_at=ahead(0.7))["id"]
    for _ in range(2):
        response = relayed.http.post(f"/v1/emails/{email_id}/cancel")
        assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    later = relayed.accept(to=address, subject="later", scheduled_at=ahead(1))["id"]
    relayed.wait_for(later, "completed")
    assert [message.data.count(b"Subject: later") for message in relay.received(address)] == [1]
    assert relayed.event_types(email_id) == ["scheduled", "cancelled"]
    assert relayed.email(email_id)["next_attempt_at"] is None


def test_cancelled_between_two_attempts(relayed: Service, relay: Relay, address: str) -> None:
    """An e-mail that waits for its next attempt can be cancelled; there is none."""
    relay.script({f"rcpt:{address}": [LATER]})
    email_id = relayed.accept(to=address)["id"]
    relayed.wait_for(email_id, "retrying")
    assert relayed.http.post(f"/v1/emails/{email_id}/cancel").json()["status"] == "cancelled"
    later = relayed.accept(to=address, scheduled_at=ahead(RETRY_DELAYS[0] * 1.2))["id"]
    relayed.wait_for(later, "completed")
    assert len(relay.received(address)) == 1
    assert relayed.event_types(email_id) == ["scheduled", "sending", "retrying", "cancelled"]


def test_too_late_to_cancel_or_retry(relayed: Service, relay: Relay, address: str) -> None:
    """409 with the reason in words, for what is completed, failed or cancelled."""
    relay.script({f"rcpt:gone-{address}": NOBODY})
    completed = relayed.accept(to=address)["id"]
    failed = relayed.accept(to=f"gone-{address}")["id"]
    cancelled = relayed.accept(scheduled_at=ahead(3600))["id"]
    relayed.http.post(f"/v1/emails/{cancelled}/cancel").raise_for_status()
    relayed.wait_for(completed, "completed")
    relayed.wait_for(failed, "failed")
    assert [
        refusal(relayed, completed, "cancel"),
        refusal(relayed, completed, "retry"),
        refusal(relayed, failed, "cancel"),
        refusal(relayed, cancelled, "retry"),
    ] == [
        (409, "email_completed", "It is too late to cancel this e-mail: it has been sent."),
        (409, "email_completed", "It is too late to retry this e-mail: it has been sent."),
        (409, "email_failed", "It is too late to cancel this e-mail: it has failed."),
        (409, "email_cancelled", "It is too late to retry this e-mail: it is cancelled."),
    ]


def test_a_failed_email_is_tried_again(relayed: Service, relay: Relay, address: str) -> None:
    """/retry gives a failed e-mail all its attempts again, under the same Message-ID."""
    relay.script({f"rcpt:{address}": [NOBODY]})
    email_id = relayed.accept(to=address)["id"]
    failed = relayed.wait_for(email_id, "failed")
    response = relayed.http.post(f"/v1/emails/{email_id}/retry")
    assert (response.status_code, response.json()["status"], response.json()["attempts"]) == (200, "scheduled", 0)
    done = relayed.wait_for(email_id, "completed")
    assert relayed.event_types(email_id) == ["scheduled", "sending", "failed", "requeued", "sending", "completed"]
    assert done["attempts"] == 1
    assert [message.message_id for message in relay.received(address)] == [failed["message_id"]]


def test_a_relay_that_is_away_costs_no_attempt(relayed: Service, relay: Relay, address: str) -> None:
    """While the relay is down e-mails wait, can be cancelled, and say so; once it is back they are sent."""
    relay.script({})
    relay.stop()
    try:
        email_id = relayed.accept(to=address)["id"]
        unwanted = relayed.accept(to=address, subject="unwanted")["id"]
        eventually(lambda: f"relay {relay.url[7:].partition('?')[0]}: " in relayed.logged, "a warning about the relay")
        ready = relayed.http.get("/readyz")
        assert (ready.status_code, ready.json()["relays"][0]["state"]) == (200, "unreachable")
        assert relayed.http.post(f"/v1/emails/{unwanted}/cancel").json()["status"] == "cancelled"
        waiting = relayed.email(email_id)
        assert (waiting["status"], waiting["attempts"]) == ("scheduled", 0)
        assert relayed.event_types(email_id) == ["scheduled"]
    finally:
        relay.start()
    done = relayed.wait_for(email_id, "completed", timeout=30)
    assert done["attempts"] == 1
    assert relayed.event_types(email_id) == ["scheduled", "sending", "completed"]
    assert len(relay.received(address)) == 1
