"""Bad input over HTTP: each has its status, its code, the field at fault, and a sentence a stranger understands."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.acceptance.running import LEAST, Service, ahead

JSON = {"Content-Type": "application/json"}
LOCAL = "2030-01-01T09:00:00"
NOBODYS = "em_01KAVWB3V3E7ZBYVG5Q8RFWT2N"
FIELDS = (
    "attachments, bcc, cc, envelope_from, from, headers, html, max_retries, reply_to, retry_until, scheduled_at, "
    "subject, tags, template, text, timezone, to, unsubscribe"
)


def refused(response: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """Status, code and faults of an answer, which must be a whole problem of RFC 9457."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["title"]
    assert document["detail"].endswith(".")
    faults = {fault["pointer"]: fault["detail"] for fault in document.get("errors", [])}
    return response.status_code, document["code"], faults


def schedule(service: Service, fields: Mapping[str, Any]) -> httpx.Response:
    """The answer to an e-mail like `LEAST` but for *fields*; one that is None is left out."""
    document = {name: value for name, value in (LEAST | dict(fields)).items() if value is not None}
    return service.http.post("/v1/emails", json=document)


@pytest.fixture(autouse=True)
def _nothing_is_accepted(service: Service) -> Any:
    """What is refused leaves no trace."""
    before = service.http.get("/v1/emails?limit=1").json()
    yield
    assert service.http.get("/v1/emails?limit=1").json() == before


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"scheduled_at": LOCAL}, "/scheduled_at", "has no offset; write it as in 2026-11-24T09:30:00Z"),
        ({"scheduled_at": ahead(-310)}, "/scheduled_at", "lies in the past ("),
        ({"scheduled_at": "tomorrow"}, "/scheduled_at", "must be a date and time with seconds and an offset, such as"),
        ({"scheduled_at": 1764000000}, "/scheduled_at", "must be a string such as 2026-11-24T09:30:00Z"),
        ({"scheduled_at": "2030-02-30T09:00:00Z"}, "/scheduled_at", "is not a date and time of the calendar"),
        ({"scheduled_at": "9999-01-01T00:00:00Z"}, "/scheduled_at", "must lie no later than the year 2200"),
        ({"scheduled_at": LOCAL, "timezone": "Europe/Berln"}, "/timezone", "did you mean Europe/Berlin?"),
        ({"scheduled_at": LOCAL, "timezone": "Mars"}, "/timezone", "is not the name of an IANA time zone"),
        ({"scheduled_at": "2030-01-01T09:00:00Z", "timezone": "UTC"}, "/scheduled_at", "leave one of them out"),
        ({"timezone": "UTC"}, "/timezone", "has no effect without scheduled_at"),
        ({"retry_until": "2020-01-01T00:00:00Z"}, "/retry_until", "lies in the past"),
        ({"subject": "Hello\r\nBcc: x@example.com"}, "/subject", "has a line break or another control character in it"),
        ({"subject": "Hello\u2028Bcc: x@example.com"}, "/subject", "has a line break"),
        ({"from": "Me\n<me@example.com>"}, "/from", "has a line break"),
        ({"to": ["you@example.com", "a@example.com\r\nDATA"]}, "/to/1", "has a line break"),
        ({"reply_to": "a\r@example.com"}, "/reply_to", "has a line break"),
        ({"headers": {"X-Note": "a\r\nBcc: x@example.com"}}, "/headers/X-Note", "has a line break"),
        ({"headers": {"X-Note\r\nBcc": "a"}}, "/headers/X-Note\r\nBcc", "is not a header name"),
        ({"headers": {"X-Note:": "a"}}, "/headers/X-Note:", "is not a header name"),
        ({"headers": {"Bcc": "x@example.com"}}, "/headers/Bcc", "the service writes itself; use the field bcc"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "/headers/x-a", "is the same header as X-A"),
        ({"headers": {"X-Note": 1}}, "/headers/X-Note", "must be a string"),
        ({"tags": ["a\nb"]}, "/tags/0", "has a line break"),
        ({"to": "nobody"}, "/to", "is not an e-mail address: An email address must have an @-sign."),
        ({"to": "a@b@example.com"}, "/to", "is not an e-mail address"),
        ({"to": "you@example"}, "/to", "is not an e-mail address"),
        ({"to": []}, "/to", "must have at least 1 entry"),
        ({"to": None}, "/to", "is required"),
        ({"to": [f"u{n}@example.com" for n in range(101)]}, "/to", "at most 100"),
        ({"from": ""}, "/from", "is not an e-mail address"),
        ({"text": None}, "/text", "is required unless html is given"),
        ({"sceduled_at": "2030-01-01T09:00:00Z"}, "/sceduled_at", "does not exist; did you mean scheduled_at?"),
        ({"colour": "red"}, "/colour", f"does not exist; known are {FIELDS}"),
        ({"max_retries": -1}, "/max_retries", "must be at least 0"),
        ({"max_retries": "3"}, "/max_retries", "must be a whole number"),
        ({"subject": 5}, "/subject", "must be a string"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named(service: Service, fields: dict[str, Any], pointer: str, words: str) -> None:
    """422, a pointer to the field and what to write instead; the value is not repeated."""
    response = schedule(service, fields)
    status, code, faults = refused(response)
    assert (status, code, list(faults)) == (422, "invalid_request", [pointer])
    assert words in faults[pointer]
    assert "Traceback" not in response.text


def test_all_bad_fields_are_named_at_once(service: Service) -> None:
    """One answer lists everything there is to mend."""
    response = schedule(
        service,
        {
            "from": "nobody",
            "to": ["you@example.com", "bad"],
            "subject": "a\nb",
            "text": None,
            "scheduled_at": "soon",
            "colour": "red",
            "max_retries": 1000,
            "headers": {"X-A": "a\nb", "To": "x"},
        },
    )
    status, code, faults = refused(response)
    assert (status, code, response.json()["detail"]) == (
        422,
        "invalid_request",
        "9 fields are wrong; nothing was done.",
    )
    assert list(faults) == [
        "/colour",
        "/from",
        "/headers/To",
        "/headers/X-A",
        "/max_retries",
        "/scheduled_at",
        "/subject",
        "/text",
        "/to/1",
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty; it must be a JSON object, {...}"),
        (b"hello", "the body is not JSON"),
        (b'{"to": "a@example.com",}', "the body is not JSON"),
        (b'{"to": "a@example.com", "to": "b@example.com"}', "the key 'to' appears twice in one object"),
        (b'{"headers": {"X-A": "1", "X-A": "2"}}', "the key 'X-A' appears twice in one object"),
        (b'{"max_retries": NaN}', "NaN is not JSON"),
        (b'{"max_retries": -Infinity}', "-Infinity is not JSON"),
        (b'{"max_retries": 1e999}', "a number is too large or too long"),
        (b'{"headers": ' + b"[" * 30 + b"]" * 30 + b"}", "the body is nested more than 20 levels deep"),
        (b"[" * 200_000, "the body is nested more than 20 levels deep"),
        (b'["a"]', "the body must be a JSON object, {...}"),
        (b'{"text": "\xff"}', "the body is not UTF-8 (at byte 10)"),
        (b'{"text": "\\ud800"}', "half a surrogate pair"),
    ],
)
def test_a_body_that_is_not_fit(service: Service, body: bytes, words: str) -> None:
    """400 with what is wrong, as exactly as it is known."""
    response = service.http.post("/v1/emails", content=body, headers=JSON)
    assert refused(response) == (400, "invalid_json", {})
    assert words in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "times", "words"),
    [
        ("/v1/emails/cancel", 1, "1,048,576 bytes (1 MiB)"),
        ("/v1/emails/cancel", 3, "1,048,576 bytes (1 MiB)"),
        ("/v1/emails/cancel", 20, "1,048,576 bytes (1 MiB)"),
        ("/v1/emails", 35, "36,001,109 bytes (34.3 MiB)"),
        ("/v1/emails/batch", 35, "36,001,109 bytes (34.3 MiB)"),
        ("/v1/attachments", 26, "26,214,400 bytes (25 MiB)"),
    ],
)
def test_a_body_that_is_too_large(service: Service, path: str, times: int, words: str) -> None:
    """413 with the limit, whether or not its length was told beforehand, also to who sends on regardless."""
    body = json.dumps(LEAST | {"text": "a" * times * 1024 * 1024}).encode()
    for content in (body, iter([body])):
        response = service.http.post(path, content=content, headers=JSON)
        assert refused(response) == (413, "body_too_large", {})
        assert response.json()["detail"] == f"The body is larger than {words}."


def test_a_message_that_is_too_large(service: Service) -> None:
    """A message that no relay may have to take is 422 with its size, the limit and the setting."""
    response = service.http.post("/v1/emails", json=LEAST | {"text": "a" * 27 * 1024 * 1024})
    status, code, faults = refused(response)
    assert (status, code, list(faults)) == (422, "invalid_request", ["/text"])
    assert faults["/text"].endswith("SERVICE_MAX_MESSAGE is 26,214,400")


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Type": "text/plain"}, "Send JSON, with the header Content-Type: application/json."),
        ({"Content-Type": "application/json; charset=latin-1"}, "Send JSON in UTF-8."),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "without Content-Encoding"),
    ],
)  # fmt: skip
def test_a_body_of_another_kind(service: Service, headers: dict[str, str], words: str) -> None:
    """415 with the header to send."""
    response = service.http.post("/v1/emails", content=json.dumps(LEAST), headers=headers)
    assert refused(response) == (415, "unsupported_media_type", {})
    assert words in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "expected", "words"),
    [
        ("GET", "/v1/email", (404, "not_found"), "There is nothing at this address"),
        ("POST", "/v1/emails/", (404, "not_found"), "There is nothing at this address"),
        (*("GET", f"/v1/emails/{NOBODYS}"), (404, "email_not_found"), "There is no e-mail with this id."),
        ("GET", "/v1/emails/17", (404, "email_not_found"), "There is no e-mail with this id."),
        ("POST", "/v1/emails/17/cancel", (404, "email_not_found"), "There is no e-mail with this id."),
        ("POST", "/v1/emails/17/retry", (404, "email_not_found"), "There is no e-mail with this id."),
        ("GET", "/v1/emails/17/events", (404, "email_not_found"), "There is no e-mail with this id."),
        ("DELETE", "/v1/emails", (405, "method_not_allowed"), "/v1/emails takes GET, HEAD, POST, not DELETE."),
        ("GET", "/v1/emails/17/cancel", (405, "method_not_allowed"), "/v1/emails/17/cancel takes POST, not GET."),
    ],
)  # fmt: skip
def test_nothing_there(service: Service, method: str, path: str, expected: tuple[int, str], words: str) -> None:
    """404 and 405 are problems too, and say what the address does take."""
    response = service.http.request(method, path)
    assert refused(response) == (*expected, {})
    assert words in response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "name", "words"),
    [
        ("status=sent", "status", "must be one of scheduled, sending"),
        ("limit=1000", "limit", "must be a whole number from 1 to 100"),
        ("after=x", "after", "must be a cursor that an earlier answer gave"),
        ("scheduled_after=today", "scheduled_after", "must be a date and time with seconds and an offset"),
        ("stat=failed", "stat", "does not exist; did you mean status?"),
        ("limit=1&limit=2", "limit", "is given more than once"),
    ],
)
def test_a_bad_query_is_named(service: Service, query: str, name: str, words: str) -> None:
    """422 with the parameter at fault."""
    status, code, faults = refused(service.http.get(f"/v1/emails?{query}"))
    assert (status, code, list(faults)) == (422, "invalid_request", [name])
    assert words in faults[name]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example.com"}, "host_not_allowed"),
        ({"Origin": "https://evil.example.com"}, "cross_origin"),
        ({"X-Forwarded-For": "192.0.2.7"}, "forwarded"),
    ],
)
def test_another_site_gets_nothing(service: Service, headers: dict[str, str], code: str) -> None:
    """403 for a name that resolves to this machine, for another site's page, and through a proxy."""
    response = service.http.post("/v1/emails", json=LEAST, headers=headers)
    assert refused(response) == (403, code, {})
    assert response.json()["detail"].startswith(("Without API keys", "Pages of other sites"))


def test_garbage_instead_of_http(service: Service) -> None:
    """What is not HTTP gets a 400, and the service goes on."""
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01hello\r\n\r\n")
        assert raw.recv(1024).startswith(b"HTTP/1.1 400")
    assert service.http.get("/healthz").json() == {"status": "ok"}
