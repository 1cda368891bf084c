"""Requests to send an e-mail, from bytes to a draft or to every fault at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.email.draft import Draft, TemplateCall
from service.email.faults import MOST, Fault, InvalidRequest, present
from service.email.mailbox import Mailbox
from service.email.request import read
from service.email.strict_json import decode
from service.email.terms import Terms
from service.mailer import headers

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LEAST: dict[str, Any] = {"from": "a@example.com", "to": "b@example.com", "text": "Hi"}


def parse(body: bytes, default_from: str | None = None) -> Draft:
    """Read *body* as the API does, where unsubscribing is offered."""
    return read(decode(body), Terms(NOW, headers.custom, default_from, unsubscribe=True))


def draft(**fields: Any) -> Draft:
    """The draft of the least request with *fields* over it; `sender` stands for from."""
    if "sender" in fields:
        fields["from"] = fields.pop("sender")
    return parse(orjson.dumps(LEAST | fields))


def faults(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with *document*."""
    with pytest.raises(InvalidRequest) as caught:
        parse(orjson.dumps(document))
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


def test_the_least_request() -> None:
    """A sender, a recipient and a text are enough; all else has its default."""
    a, b = Mailbox("", "a@example.com", "example.com"), Mailbox("", "b@example.com", "example.com")
    assert draft() == Draft(a, (b,), (), (), (), "", "Hi", None, {}, (), None, None, None)
    assert draft().addresses == ("b@example.com",)


def test_the_fullest_request() -> None:
    """Every field is read, addresses are put in their normal form, and the envelope holds each once."""
    full = draft(
        sender="Zoë Müller <zoe@Bücher.EXAMPLE>",
        to=["Bob <b@example.com>", "c@example.com"],
        cc="B@Example.com",
        bcc=["c@EXAMPLE.com", "d@example.com"],
        reply_to="r@example.com",
        subject="Grüße",
        html="<p>Hi</p>",
        headers={"X-Order": "7", "List-Unsubscribe": "<https://example.com/u>"},
        tags=["a", "b", "a"],
        scheduled_at="2026-12-24T18:00:00",
        timezone="Europe/Berlin",
        max_retries=0,
        retry_until="2026-12-25T18:00:00",
        envelope_from="bounces@EXAMPLE.com",
    )
    assert full.sender == Mailbox("Zoë Müller", "zoe@bücher.example", "xn--bcher-kva.example")
    assert full.addresses == ("b@example.com", "c@example.com", "B@example.com", "d@example.com")
    assert [str(one) for one in (*full.to, *full.cc)] == ["Bob <b@example.com>", "c@example.com", "B@example.com"]
    assert (full.subject, full.text, full.html, full.tags) == ("Grüße", "Hi", "<p>Hi</p>", ("a", "b"))
    assert full.headers == {"X-Order": "7", "List-Unsubscribe": "<https://example.com/u>"}
    assert full.scheduled_at == datetime(2026, 12, 24, 17, tzinfo=UTC)
    assert full.retry_until == datetime(2026, 12, 25, 17, tzinfo=UTC)
    assert full.max_retries == 0
    assert full.envelope_from == "bounces@example.com"


def test_a_template_stands_for_the_bodies() -> None:
    """With a template no text is needed; its version is its newest and its variables none unless they are given."""
    least = {"from": "a@example.com", "to": "b@example.com"}
    found = parse(orjson.dumps(least | {"template": {"name": "welcome"}}))
    assert (found.template, found.text, found.subject) == (TemplateCall("welcome", None, {}), None, "")
    call = {"name": "welcome", "version": 3, "variables": {"name": "Ann", "items": [1, None]}}
    found = parse(orjson.dumps(least | {"template": call, "subject": "Mine"}))
    assert found.template == TemplateCall("welcome", 3, {"name": "Ann", "items": [1, None]})
    assert found.subject == "Mine"


def test_unsubscribing_needs_an_address_to_do_it_at() -> None:
    """`unsubscribe` is refused where the service does not know how recipients reach it."""
    assert draft(unsubscribe=True).unsubscribe
    assert not draft().unsubscribe
    with pytest.raises(InvalidRequest) as caught:
        read(LEAST | {"unsubscribe": True}, Terms(NOW, headers.custom))
    assert [fault.pointer for fault in caught.value.faults] == ["/unsubscribe"]


def test_null_means_absent() -> None:
    """A field that is null is a field that is not there."""
    assert draft(cc=None, scheduled_at=None, timezone=None, html=None, tags=None) == draft()


def test_a_default_sender() -> None:
    """The default sender is used where the request names none, and only there."""
    body = orjson.dumps({"to": "b@example.com", "text": "Hi"})
    assert str(parse(body, default_from="Shop <s@example.com>").sender) == "Shop <s@example.com>"
    assert str(parse(orjson.dumps(LEAST), default_from="s@example.com").sender) == "a@example.com"


def test_every_bad_field_is_named_at_once() -> None:
    """One answer tells every mistake, by JSON pointer."""
    wrong = {
        "to": ["b@example.com", "nobody", 5],
        "cc": "nobody",
        "bcc": {},
        "subject": "a\r\nBcc: x@example.com",
        "headers": {"X-A": "1\n2", "x/a": "1", "X-Ok": "1", "Bcc": "x", "X-N": 7, "x-ok": "2", "B d": "1"},
        "tags": ["", "x" * 101, "ok"],
        "scheduled_at": 1764000000,
        "max_retries": True,
        "sbject": "x",
    }
    assert [where for where, _ in faults(wrong)] == [
        "/bcc",
        "/cc",
        "/from",
        "/headers/B d",
        "/headers/Bcc",
        "/headers/X-A",
        "/headers/X-N",
        "/headers/x-ok",
        "/max_retries",
        "/sbject",
        "/scheduled_at",
        "/subject",
        "/tags/0",
        "/tags/1",
        "/text",
        "/to/1",
        "/to/2",
    ]


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({"from": None}, "/from", "is required"),
        ({"to": None}, "/to", "is required"),
        ({"to": []}, "/to", "must have at least 1 entry"),
        ({"to": 5}, "/to", "must be an address or a list of addresses"),
        ({"to": [None]}, "/to/0", "must be a string, such as Name <local@example.com>"),
        ({"text": None}, "/text", "is required unless html is given"),
        ({"text": 5}, "/text", "must be a string"),
        ({"subject": "x" * 999}, "/subject", "must be at most 998 characters long"),
        ({"headers": []}, "/headers", "must be an object"),
        ({"headers": {f"X-{n}": "1" for n in range(51)}}, "/headers", "must have at most 50 entries"),
        ({"headers": {"Message-ID": "<x@y>"}}, "/headers/Message-ID", "is a header that the service writes itself"),
        (
            {"headers": {"Reply-To": "x"}},
            "/headers/Reply-To",
            "is a header that the service writes itself; use the field reply_to",
        ),
        (
            {"headers": {"List-Unsubscribe": "<https://example.com/é>"}},
            "/headers/List-Unsubscribe",
            "cannot be written: this header takes ASCII only, or one of its words is too long for a line",
        ),
        ({"headers": {"X-A": "x" * 5001}}, "/headers/X-A", "must be at most 5000 characters long"),
        ({"tags": [f"{n}" for n in range(21)]}, "/tags", "must have at most 20 entries"),
        ({"max_retries": -1}, "/max_retries", "must be at least 0"),
        ({"max_retries": 101}, "/max_retries", "must be at most 100"),
        ({"max_retries": 1.5}, "/max_retries", "must be a whole number"),
        ({"max_retries": "3"}, "/max_retries", "must be a whole number"),
        ({"sceduled_at": "x"}, "/sceduled_at", "does not exist; did you mean scheduled_at?"),
        (
            {"timezone": "Europe/Berlin"},
            "/timezone",
            "has no effect without scheduled_at; leave it out, or say when to send",
        ),
        (
            {"scheduled_at": "2026-12-24T18:00:00", "timezone": "Europe/Berlim"},
            "/timezone",
            "is not the name of an IANA time zone; did you mean Europe/Berlin?",
        ),
        ({"scheduled_at": "2026-12-24T18:00:00", "timezone": 1}, "/timezone", "must be a string"),
        (
            {"envelope_from": "Bob <b@example.com>"},
            "/envelope_from",
            "must be an address alone, such as bounces@example.com",
        ),
        ({"unsubscribe": 1}, "/unsubscribe", "must be true or false"),
        ({"unsubscribe": True, "cc": "c@example.com"}, "/unsubscribe", "needs an e-mail to one recipient, not 2"),
        (
            {"unsubscribe": True, "headers": {"list-unsubscribe": "<https://example.com/u>"}},
            "/headers/list-unsubscribe",
            "cannot be given beside unsubscribe, which writes it",
        ),
        ({"template": {"name": "x"}}, "/text", "cannot be given beside template, which makes it"),
        ({"text": None, "template": {}}, "/template/name", "is required"),
        (
            {"text": None, "template": {"name": "x", "lang": "de"}},
            "/template/lang",
            "does not exist; known are name, variables, version",
        ),
        ({"text": None, "template": {"name": "x", "version": 0}}, "/template/version", "must be at least 1"),
        ({"text": None, "template": "x"}, "/template", "must be an object"),
        (
            {"scheduled_at": "2026-12-24T18:00:00Z", "retry_until": "2026-12-24T18:00:00Z"},
            "/retry_until",
            "must lie after scheduled_at; it is when the service gives up",
        ),
    ],
)
def test_a_bad_field_says_what_is_right(fields: dict[str, Any], where: str, says: str) -> None:
    """Each kind of mistake has its own sentence."""
    assert faults(LEAST | fields) == [(where, says)]


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_no_header_takes_a_line_break(character: str) -> None:
    """What some program may take for a line break is refused in every value and name that reaches a header."""
    text = f"a{character}b"
    document = LEAST | {
        "from": f"{text} <a@example.com>",
        "to": [f"{text} <b@example.com>", f"b@exam{character}ple.com"],
        "reply_to": f"{text} <b@example.com>",
        "subject": text,
        "headers": {"X-A": text, f"X-{character}": "1"},
        "tags": [text],
    }
    assert [where for where, _ in faults(document)] == sorted(
        ["/from", f"/headers/X-{character}", "/headers/X-A", "/reply_to", "/subject", "/tags/0", "/to/0", "/to/1"]
    )


@pytest.mark.parametrize(
    ("scheduled_at", "expected"),
    [
        ("2026-11-24T13:00:00Z", NOW + timedelta(hours=1)),
        ("2026-11-24T11:55:00Z", NOW),
        ("2026-11-24T12:00:00+00:00", NOW),
    ],
)
def test_a_time_just_past_means_now(scheduled_at: str, expected: datetime) -> None:
    """A time up to five minutes ago is taken for now."""
    assert draft(scheduled_at=scheduled_at).scheduled_at == expected


@pytest.mark.parametrize(
    ("scheduled_at", "says"),
    [
        (
            "2026-11-24T11:54:59Z",
            "lies in the past (2026-11-24T11:54:59.000000Z; it is 2026-11-24T12:00:00.000000Z now)",
        ),
        ("2026-11-24T13:00:00", "has no offset"),
        ("tomorrow", "must be a date and time with seconds and an offset"),
        ("", "must be a date and time with seconds and an offset"),
        (0, "must be a string"),
        (False, "must be a string"),
    ],
)
def test_an_unclear_time_is_never_now(scheduled_at: object, says: str) -> None:
    """A time that cannot be read, or lies in the past, is refused and never sent at once."""
    ((where, detail),) = faults(LEAST | {"scheduled_at": scheduled_at})
    assert where == "/scheduled_at"
    assert detail.startswith(says)


def test_at_most_100_recipients() -> None:
    """To, cc and bcc together hold at most 100 addresses."""
    many = [f"u{n}@example.com" for n in range(100)]
    assert len(draft(to=many).addresses) == 100
    assert faults(LEAST | {"to": many, "cc": "c@example.com"}) == [
        ("/to", "has, with cc and bcc, 101 recipients; at most 100 are allowed")
    ]


def test_a_hostile_request_is_answered_briefly() -> None:
    """Thousands of mistakes cost neither a long computation nor a long answer."""
    ((where, detail),) = faults({f"x{n}": 1 for n in range(5_000)})
    assert (where, detail[:18]) == ("", "has 5,000 fields; ")
    assert len(faults({f"x{n}": 1 for n in range(100)})) <= MOST + 10
    assert faults(LEAST | {"to": ["nobody"] * 50_000})[0][0] == "/to"
    ((where, detail),) = faults(LEAST | {"k" * 100_000: 1})
    assert len(where) + len(detail) < 500


def test_a_fault_never_repeats_a_value() -> None:
    """What a client sent, which may be a secret, is not in the answer."""
    secret = "hunter2"
    wrong = {
        "from": secret,
        "to": [secret, f"{secret}@"],
        "subject": [secret],
        "text": {"x": secret},
        "headers": {"Subject": secret},
        "scheduled_at": secret,
        "max_retries": secret,
    }
    assert secret not in repr(faults(wrong))


def test_faults_name_fields_by_json_pointer() -> None:
    """A key with a slash or a tilde is escaped as RFC 6901 says."""
    assert faults(LEAST | {"headers": {"a/~b": 5}}) == [("/headers/a~1~0b", "must be a string")]


def test_faults_are_ordered() -> None:
    """Faults compare by pointer, then by detail."""
    assert sorted([Fault("/b", "x"), Fault("/a", "y")]) == [Fault("/a", "y"), Fault("/b", "x")]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["from", "to", "cc", "text", "headers", "scheduled_at"], _JSON))
)
def test_any_json_is_a_draft_or_has_its_faults(document: dict[str, Any]) -> None:
    """Whatever JSON comes, the answer is a draft or a list of faults."""
    try:
        found = parse(orjson.dumps(document))
    except InvalidRequest as error:
        told = [fault.detail for fault in error.faults]
    else:
        told = [found.sender.address]
    assert told
    assert all(told)


def test_a_null_under_a_wrong_name_is_refused_too() -> None:
    """Null is as good as absent where there is such a field; a misspelt one is told, whatever it holds."""
    assert present({"text": None, "txet": None, "html": ""}, {"text", "html"}) == {"txet": None, "html": ""}
