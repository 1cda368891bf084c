"""What the words of the API mean: every field is described once, whichever models it is in.

A field's own description wins; a name with the model before it (``Model.field``) wins over the name alone.
"""

from __future__ import annotations

from typing import Any

TAGS = {
    "Emails": "Schedule, list, change, cancel and retry e-mails.",
    "Attachments": "Files that are uploaded once and attached by their SHA-256.",
    "Templates": "Named, versioned templates, rendered when an e-mail is accepted.",
    "Schedules": "E-mails that are sent again and again.",
    "Suppressions": "Addresses that get no more e-mails.",
    "Unsubscribe": "One-click unsubscribing (RFC 8058).",
    "Bounces": "Reports of mail that could not be delivered.",
    "Events": "What happened, as a list or as a live stream.",
    "Webhooks": "Events sent to your own endpoints, signed (Standard Webhooks).",
    "Inbox": "What the catch-all inbox for development caught.",
    "Health": "Whether the service lives and is ready.",
    "About": "This description.",
}
"""The groups of operations, in the order in which they are shown."""

_EMAIL = "em_01KAVK0PN0F6C9ZR8YHJX2T4QW"
_NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}

PATHS: dict[str, dict[str, Any]] = {
    "id": {
        "description": "The id of an e-mail.",
        "schema": {"type": "string", "pattern": "^em_[0-9A-Z]{26}$"},
        "example": _EMAIL,
    },
    "name": {"description": "Its name.", "schema": _NAME, "example": "welcome"},
    "address": {
        "description": "An e-mail address.",
        "schema": {"type": "string", "minLength": 1},
        "example": "ann@example.org",
    },
    "token": {
        "description": "What the link in the e-mail carries.",
        "schema": {"type": "string", "minLength": 1},
        "example": "AbC123",
    },
    **{
        f"/v1/webhooks/{{id}}{step} id": {
            "description": "The id of a webhook.",
            "schema": {"type": "string", "pattern": "^wh_[0-9A-Z]{26}$"},
            "example": "wh_01KAVK0PN0F6C9ZR8YHJX2T4QW",
        }
        for step in ("", "/test", "/replay", "/enable", "/secret")
    },
    "/inbox/{id} id": {
        "description": "The id of a message, as the list shows it.",
        "schema": {"type": "string", "minLength": 1},
        "example": "20300101T090000-abc123",
    },
}
"""Parameters of paths: by name, or by path and name where that says otherwise."""

_TIME = "2030-01-01T08:00:00.000000Z"

FIELDS: dict[str, tuple[Any, ...]] = {
    # Requests to send
    "from": ("The sender, as `Name <local@example.com>` or the address alone. Default: `SERVICE_DEFAULT_FROM`.",),
    "to": ("Recipients: one address or a list. With cc and bcc at most 100.",),
    "cc": ("Recipients of a copy.",),
    "bcc": ("Recipients of a copy whom nobody else sees; they are in no header.",),
    "reply_to": ("Where replies go.",),
    "envelope_from": ("The address that bounces go to, if it is not that of `from`.", "bounces@example.com"),
    "subject": ("The subject, without line breaks.", "Your order"),
    "text": ("The body as plain text. At least one of text, html and template.", "It is on its way."),
    "html": (
        "The body as HTML; with `text`, both are sent and the reader's program chooses.",
        "<p>It is on its way.</p>",
    ),
    "template": ("The template that makes subject, text and html, instead of them.",),
    "headers": (
        "More header fields, such as `List-Id`. Those that the service writes itself are refused.",
        {"X-Campaign": "spring"},
    ),
    "attachments": ("Files, at most 100; inline where they have a `content_id`.",),
    "tags": ("Words of your own to find e-mails by, at most 20 of up to 100 characters.", ["orders"]),
    "scheduled_at": (
        "When to send: RFC 3339 with an offset, or a local time with `timezone`. Absent: now. Up to 5 minutes past "
        "means now; earlier, or after the year 2200, is refused.",
        "2030-01-01T09:00:00Z",
    ),
    "timezone": (
        "The IANA time zone of a local `scheduled_at`. A time that a change of clocks repeats is the earlier one; one "
        "that it skips moves forward by the gap.",
        "Europe/Berlin",
    ),
    "max_retries": ("Attempts after the first one that failed, 0 to 100. Default: `SERVICE_MAX_RETRIES`.", 3),
    "retry_until": (
        "When to give up, whatever attempts are left. Default: 5 days after `scheduled_at`.",
        "2030-01-06T09:00:00Z",
    ),
    "unsubscribe": ("Add one-click unsubscribing (RFC 8058) for the one recipient; needs `SERVICE_PUBLIC_URL`.",),
    "emails": ("Up to 1,000 e-mails, each as for `POST /v1/emails`.",),
    "mode": ("`strict`: one that is wrong refuses all. `permissive`: the others are accepted.", "strict"),
    "variables": ("What the template's variables are.", {"name": "Ann"}),
    "version": ("Which version of the template; absent, the newest.", 1),
    "dry_run": ("Count what would be done, and do nothing.",),
    "action": ("What was done, or would be.",),
    "matched": ("E-mails that are like the filter.",),
    "changed": ("Those of them that were changed.",),
    "unchanged": ("Those that were so already.",),
    "refused": ("Those for which it was too late.",),
    # Attachments
    "filename": ("The name of the file, without a path.", "hello.txt"),
    "content": ("The bytes in base64 (RFC 4648, section 4), padded.", "SGVsbG8K"),
    "sha256": (
        "The SHA-256 of the file's bytes, in lower-case hexadecimal digits.",
        "66a045b452102c59d840ec097d59d9467e13a3f34f6494e539ffd32c1bb35f18",
    ),
    "content_type": ("The media type; guessed from the name where it is absent.", "text/plain"),
    "content_id": ("Makes it an inline part, which HTML shows by `cid:ID`; without angle brackets.", "logo"),
    "size": ("Bytes.", 6),
    # Records
    "id": ("The id.", _EMAIL),
    "object": ("What kind of thing this is.",),
    "status": ("Where it stands.",),
    "reason": ("Why it failed or is held, in a word; null otherwise.", None),
    "rev": ("The revision: 1 when it is new, one more with every change.", 1),
    "message_id": ("The Message-ID, the same in every attempt.", f"<{_EMAIL}@example.com>"),
    "created_at": ("When it was accepted (UTC).", _TIME),
    "updated_at": ("When it was last changed (UTC).", _TIME),
    "next_attempt_at": ("When it is tried again; null where nothing is planned.", None),
    "attempts": ("Attempts that counted.", 0),
    "last_error": ("What went wrong last; null if nothing did.", None),
    "recipients": ("Every recipient, with what became of it.",),
    "address": ("The address.", "ann@example.org"),
    "code": ("The SMTP code of the server's last answer about it; null before there was one.", 250),
    "reply": ("The text of that answer.", "2.1.5 Ok"),
    "name": ("The name: letters, digits and `._-`, beginning with a letter or a digit, at most 100.", "welcome"),
    # The inbox for development, and health
    "received_at": ("When it arrived (UTC).", _TIME),
    "date": ("Its Date header; empty if there is none.", "Tue, 01 Jan 2030 08:00:00 +0000"),
    "raw": ("Its bytes as they came over SMTP, read as UTF-8.",),
    "store": ("Whether an e-mail would be durable, and why not.", {"durable": True, "free_bytes": 80000000000}),
    "redis": ("Whether the queue's server answers, and what waits there.", {"reachable": True, "scheduled": 0}),
    # Templates and schedules
    "TemplateBody.subject": ("Jinja for the subject.", "Hello {{ name }}"),
    "TemplateBody.text": ("Jinja for the plain text. At least one of text and html.", "Hello {{ name }}!"),
    "TemplateBody.html": ("Jinja for the HTML; what is printed is escaped.", "<p>Hello {{ name }}!</p>"),
    "TemplateSummary.subject": ("Jinja for the subject; null if it makes none.", "Hello {{ name }}"),
    "TemplateSummary.version": ("Its version: 1 when it is new, one more with every other text.", 1),
    "TemplateRecord.subject": ("Jinja for the subject; null if it makes none.", "Hello {{ name }}"),
    "TemplateRecord.version": ("Its version: 1 when it is new, one more with every other text.", 1),
    "TemplateRecord.text": ("Jinja for the plain text; null if it makes none.", "Hello {{ name }}!"),
    "TemplateRecord.html": ("Jinja for the HTML; null if it makes none.", "<p>Hello {{ name }}!</p>"),
    "PreviewAnswer.template": ("The template and the version that it was made from.", "welcome@1"),
    "PreviewAnswer.subject": ("The subject that an e-mail would have.", "Hello Ann"),
    "PreviewAnswer.text": ("The plain text that it would have.", "Hello Ann!"),
    "PreviewAnswer.html": ("The HTML that it would have.", "<p>Hello Ann!</p>"),
    "cron": (
        "When: minute, hour, day of month, month, weekday (or six fields, the second first), by the clocks of "
        "`timezone`. A time that these skip is the next minute that is not; one that they repeat is the first of the "
        "two. Patterns such as `0 * * * *` fire at each hour that there is. Not beside `every`.",
        "0 9 * * mon-fri",
    ),
    "every": ("When: at the multiples of so many seconds since 1970-01-01T00:00Z. Not beside `cron`.", None),
    "misfire": (
        "What becomes of slots at whose time no worker ran: `once`, one e-mail for all of them; `all`, one for each; "
        "`skip`, none, unless the last is at most a minute late.",
        "once",
    ),
    "paused": ("Whether it sends nothing for now. Absent: as it was; a new one is active.", False),
    "ScheduleBody.timezone": ("The IANA time zone of `cron`. Default: UTC.", "Europe/Berlin"),
    "ScheduleBody.email": (
        "What to send: as for `POST /v1/emails`, without times. A template is filled at each fire, in its newest "
        "version unless one is named.",
    ),
    "ScheduleRecord.timezone": ("The IANA time zone of `cron`.", "Europe/Berlin"),
    "ScheduleRecord.email": (
        "What it sends. Attachments are named by their SHA-256.",
        {"from": "shop@example.com", "to": "ann@example.org", "subject": "Good morning", "text": "Orders wait."},
    ),
    "ScheduleRecord.status": ("Whether it sends.", "active"),
    "next_fires": ("When it sends next (UTC), at most five times; none while it is paused.", [_TIME]),
    "last_slot": ("The slot up to which all are done with (UTC); null before the first.", None),
    "last_fired_at": ("When it last made an e-mail, or failed to (UTC); null before the first slot.", None),
    "last_email_id": ("The e-mail that its last slot made; null if it made none.", None),
    "ScheduleRecord.last_error": ("Why its last slot made no e-mail; null if it made one.", None),
    # Suppressions and reports
    "ReportedRecipient.action": ("What the report says about this recipient (RFC 3464, 2.3.3; RFC 5965).", "failed"),
    "enhanced_status": ("The enhanced status code (RFC 3463); null if there is none.", "5.1.1"),
    "ReportedRecipient.code": ("The SMTP code in the report; null if there is none.", 550),
    "ReportedRecipient.reply": ("The words of the server that reported it.", "550 5.1.1 no such user"),
    "recorded": ("Whether the e-mail's record or its events tell of it.", True),
    "suppressed": ("Whether the address gets no more e-mails because of this.", True),
    "ReportAnswer.email_id": ("The e-mail it is about.", _EMAIL),
    "strangers": ("Addresses in the report that are no recipients of the e-mail.", []),
    "addresses": ("One address or a list of up to 1,000.", ["ann@example.org"]),
    "SuppressionBody.reason": ("Why they are to get nothing.", "manual"),
    "SuppressionBody.detail": ("What there is to say about it, for people.", "asked for it by phone"),
    "SuppressionQuery.reason": ("Only those suppressed for this reason.",),
    "SuppressionRecord.reason": ("Why it gets no e-mails.", "bounce"),
    "SuppressionRecord.email_id": ("The e-mail that brought it about; null where none did.", _EMAIL),
    "SuppressionRecord.detail": ("What there is to say about it, such as a server's words.", "550 5.1.1 no such user"),
    # Lists
    "has_more": ("Whether there are more in that direction.",),
    "data": ("What was found, in order.",),
    "after": ("The cursor for what comes after; null where nothing was found.", "17"),
    "before": ("The cursor for what comes before; null where nothing was found.", "42"),
    "limit": ("At most so many, 1 to 100.", 20),
    "ListQuery.status": ("Only e-mails with this status.",),
    "ListQuery.to": ("Only e-mails to this address (to, cc or bcc), in any case.",),
    "ListQuery.tag": ("Only e-mails with this tag.",),
    "tag": ("Only e-mails with this tag.", "orders"),
    "scheduled_after": ("Only e-mails for this moment or later.",),
    "scheduled_before": ("Only e-mails for before this moment.",),
    "q": ("Only e-mails with this text in subject, an address, a name or a tag, in any case.",),
    "sort": ("`scheduled_at` lists what is not final, by when it is due; without it the newest accepted come first.",),
    "ListQuery.after": ("Only what comes after this cursor of an earlier answer.",),
    "ListQuery.before": ("Only what comes before this cursor of an earlier answer.",),
    # Events
    "seq": ("Its number; later events have higher ones, with gaps.", 17),
    "at": ("When it happened (UTC).", _TIME),
    "type": ("What happened.", "email.scheduled"),
    "email_id": ("The e-mail it happened to; null where it is none.", _EMAIL),
    "run": ("The run of the e-mail it belongs to; 0 before the first.", 0),
    "EventShape.data": ("What there is to say about it, as of its type.", {"status": "scheduled"}),
    "LogEvent.data": ("What there is to say about it, as of its type.", {"status": "scheduled"}),
    "LogEvent.subject": ("What it happened to, as `kind:name`, where that is no e-mail.", None),
    "reset": ("Whether some events before these are gone.",),
    # Problems
    "Problem.type": ("Always `about:blank`: `code` says more.", "about:blank"),
    "Problem.status": ("The status of the answer.", 422),
    "Problem.code": ("One word for programs.", "invalid_request"),
    "title": ("The status in words.", "Unprocessable Entity"),
    "detail": ("What is wrong and what is right, for people.", "is required"),
    "pointer": ("Where it is: a JSON pointer into the body, or the name of a parameter or header.", "/to"),
    "errors": ("The bad fields, all of them.",),
    "index": ("Its place in the batch, from 0.", 0),
}
"""Field -> its description, then examples of its value."""

for _model in ("EmailSummary", "EmailRecord"):
    FIELDS[f"{_model}.from"] = ("The sender.", "Shop <shop@example.com>")
    FIELDS[f"{_model}.to"] = ("Recipients.", ["Ann <ann@example.org>"])
    for _field in ("cc", "bcc", "reply_to", "attachments"):
        FIELDS[f"{_model}.{_field}"] = (FIELDS[_field][0], [])
    for _field in ("template", "envelope_from"):
        FIELDS[f"{_model}.{_field}"] = (FIELDS[_field][0], None)
    FIELDS[f"{_model}.headers"] = (FIELDS["headers"][0], {"X-Campaign": "spring"})
    FIELDS[f"{_model}.scheduled_at"] = ("When it is to be sent (UTC).", _TIME)
    FIELDS[f"{_model}.retry_until"] = (
        "When it is given up, whatever attempts are left (UTC).",
        "2030-01-06T08:00:00.000000Z",
    )
