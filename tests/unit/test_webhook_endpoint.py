"""The life of an endpoint, and what it is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.events.shown import Selection, complaint_about_type
from service.store.documents import Document
from service.store.records import Event
from service.webhooks import endpoint as steps
from service.webhooks import message, signing
from service.webhooks.endpoint import Endpoint, from_document, to_data
from service.webhooks.sender import Answer
from zqueue import steps as in_steps

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PLAIN = in_steps(5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
FRESH = Endpoint("wh_1", "https://example.com/", ("email.*",), None, "whsec_a2V5", cursor=7)


def refusal(status: int | None = 500, wait: float = 0) -> Answer:
    """An attempt that failed."""
    return Answer(status, "answered so", timedelta(seconds=wait), timedelta(0))


def test_signatures_are_those_of_standard_webhooks() -> None:
    """HMAC-SHA256 of id, time and body under the secret's bytes; one for each secret, of which one has to fit."""
    now = int(datetime.now(UTC).timestamp())
    old, new = signing.new_secret(), signing.new_secret()
    headers = signing.headers("evt_1", now, b'{"a":1}', [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(b'{"a":1}', headers) == {"a": 1}
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(b'{"a":2}', headers)
    digest = hmac.new(base64.b64decode(new[6:]), f"evt_1.{now}.".encode() + b'{"a":1}', hashlib.sha256).digest()
    assert headers["webhook-signature"].split(" ")[0] == f"v1,{base64.b64encode(digest).decode()}"
    assert len(base64.b64decode(new.removeprefix("whsec_"))) == 32


def test_an_endpoint_is_written_and_read_again() -> None:
    """Whatever state it is in."""
    for one in (
        FRESH,
        steps.failed(steps.rotated(FRESH, "whsec_bmV3", NOW), refusal(), NOW),
        steps.disabled(FRESH, "gone"),
    ):
        data = json.loads(json.dumps(to_data(one)))
        assert from_document(Document("webhook", one.id, 1, NOW, NOW, data)) == one


def test_what_is_shown_holds_no_secret() -> None:
    """Neither the present one nor the one before."""
    one = steps.rotated(FRESH, "whsec_bmV3", NOW)
    text = json.dumps(steps.shown(one, Document("webhook", one.id, 2, NOW, NOW, to_data(one))))
    assert "whsec" not in text


def test_the_ladder_of_retries() -> None:
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h; after five days of failure the endpoint is disabled."""
    one, now = FRESH, NOW
    waits = []
    while one.enabled:
        one = steps.failed(one, refusal(), now, PLAIN)
        if one.next_at is not None:
            waits.append((one.next_at - now).total_seconds())
            now = one.next_at
    assert waits == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400, 86_400, 86_400]
    assert (one.reason, one.failing_since, one.failures) == ("failing", NOW, 12)
    assert timedelta(days=5) <= now - NOW < timedelta(days=6)


def test_the_ladder_has_jitter() -> None:
    """So that what failed together does not come back together."""
    waits = {steps.failed(FRESH, refusal(), NOW).next_at for _ in range(20)}
    assert len(waits) > 1
    assert all(wait is not None and 4.5 <= (wait - NOW).total_seconds() <= 5.5 for wait in waits)


def test_an_endpoint_may_ask_for_a_longer_wait() -> None:
    """Retry-After counts where it is longer than the ladder's wait."""
    assert steps.failed(FRESH, refusal(429, wait=90), NOW, PLAIN).next_at == NOW + timedelta(seconds=90)
    assert steps.failed(FRESH, refusal(429, wait=1), NOW, PLAIN).next_at == NOW + timedelta(seconds=5)


def test_gone_disables_at_once() -> None:
    """410 is said for good."""
    gone = steps.failed(FRESH, refusal(410), NOW)
    assert (gone.enabled, gone.reason, gone.last_status, gone.next_at) == (False, "gone", 410, None)


def test_taking_a_message_ends_a_failure() -> None:
    """And only that: reading on past what nobody wants does not."""
    failing = steps.failed(FRESH, refusal(), NOW, PLAIN)
    assert steps.told(failing, 9, NOW, taken=False) == replace(failing, cursor=9)
    assert steps.told(failing, 9, NOW, taken=True) == replace(FRESH, cursor=9, told_at=NOW)
    assert steps.enabled(steps.disabled(failing, "failing")) == replace(
        FRESH, gen=3, last_error="answered so", last_status=500
    )


def test_an_old_secret_lasts_a_day() -> None:
    """Long enough to bring the new one to the receiver."""
    one = steps.rotated(FRESH, "whsec_bmV3", NOW)
    assert one.keys(NOW + timedelta(hours=23)) == ["whsec_bmV3", "whsec_a2V5"]
    assert one.keys(NOW + timedelta(hours=24)) == ["whsec_bmV3"]


def test_a_message_tells_an_event() -> None:
    """Under an id that is the same whenever it is told, and no other store's."""
    event = Event(7, NOW, "email.completed", "em_1", 1, {"status": "completed"}, rev=3)
    told = message.of_event(event, "store1")
    assert told == message.of_event(event, "store1")
    assert told.id == "evt_store1_7"
    assert json.loads(told.body) == {
        "type": "email.completed",
        "timestamp": "2026-11-24T12:00:00.000000Z",
        "data": {
            "seq": 7,
            "at": "2026-11-24T12:00:00.000000Z",
            "type": "email.completed",
            "email_id": "em_1",
            "subject": None,
            "rev": 3,
            "run": 1,
            "data": {"status": "completed"},
        },
    }


def test_selections() -> None:
    """By type, by kind, all; and never what is hidden."""

    def event(type_: str) -> Event:
        return Event(1, NOW, type_, None, 0, {})

    assert Selection(("email.failed", "key.*")).takes(event("email.failed"))
    assert Selection(("email.failed", "key.*")).takes(event("key.made"))
    assert not Selection(("email.failed", "key.*")).takes(event("email.completed"))
    assert Selection(("*",)).takes(event("webhook.disabled"))
    assert not Selection(("*", "webhook.*")).takes(event("webhook.progress"))


@pytest.mark.parametrize(
    "name", ["", "email", "email.", "email.sent", "emails.*", "email.*.x", "webhook.Ä", "webhook.a b"]
)
def test_types_that_cannot_be(name: str) -> None:
    """A slip of the pen would never be told anything, so it is refused."""
    assert complaint_about_type(name)


@pytest.mark.parametrize("name", ["*", "email.*", "email.completed", "recipient.bounced", "template.updated"])
def test_types_that_can_be(name: str) -> None:
    """Known types of e-mails, any of another kind, all of a kind, all."""
    assert complaint_about_type(name) is None
