"""The header fields of requests and answers, each described once."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ALWAYS = ("RateLimit", "RateLimit-Policy")
"""Fields of every answer to a request that is counted."""

REQUEST: dict[str, Json] = {
    "Idempotency-Key": {
        "description": "Names this request: however often it comes, it takes effect once, and each time gets the first "
        "answer. Kept for 24 hours and until its e-mails are final. The same key with another body is a 422.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "example": "order-4711",
    },
    "If-Match": {
        "description": "Do it only if the record still has this `ETag`; otherwise the answer is 412.",
        "schema": {"type": "string"},
        "example": '"1"',
    },
    "If-None-Match": {
        "description": "Answer 304, without a body, if the record still has this `ETag`.",
        "schema": {"type": "string"},
        "example": '"1"',
    },
    "Last-Event-ID": {
        "description": "Where a stream goes on: the `id` of the last event that was received.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        "example": "42",
    },
}
"""What requests may have: name -> parameter object."""

RESPONSE: dict[str, Json] = {
    "Location": {
        "description": "Where the new resource is.",
        "schema": {"type": "string", "format": "uri-reference"},
        "example": "/v1/emails/em_01KAVK0PN0F6C9ZR8YHJX2T4QW",
    },
    "ETag": {
        "description": "The revision, in quotes; for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string"},
        "example": '"1"',
    },
    "Idempotent-Replayed": {
        "description": "`true` where this is the answer to an earlier request with the same `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    },
    "Content-Disposition": {
        "description": "The file name to keep it under.",
        "schema": {"type": "string"},
        "example": 'attachment; filename="message.eml"',
    },
    "Allow": {
        "description": "The methods that this address takes.",
        "schema": {"type": "string"},
        "example": "GET, HEAD, POST",
    },
    "Retry-After": {
        "description": "Seconds after which trying again makes sense.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 5,
    },
    "WWW-Authenticate": {
        "description": "What is asked for, and why it was not enough (RFC 6750).",
        "schema": {"type": "string"},
        "example": 'Bearer realm="zqueue", error="invalid_token", error_description="There is no such API key."',
    },
    "RateLimit": {
        "description": "How many requests may follow at once with this key, and the seconds until it is as many as "
        "ever (draft-ietf-httpapi-ratelimit-headers). Only where a limit is set, and counted by each process.",
        "schema": {"type": "string"},
        "example": '"send";r=99;t=1',
    },
    "RateLimit-Policy": {
        "description": "The limit: so many requests in so many seconds.",
        "schema": {"type": "string"},
        "example": '"send";q=100;w=1',
    },
    "Accept-Post": {
        "description": "The media type to send instead.",
        "schema": {"type": "string"},
        "example": "application/json",
    },
}
"""What answers may have: name -> header object."""

OF_PROBLEM: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    405: ("Allow",),
    415: ("Accept-Post",),
    429: ("Retry-After", *ALWAYS),
    503: ("Retry-After",),
}
"""The fields of problems, by status."""
