"""E-mails as JSON: the record that the API shows, and the two forms that the journal keeps.

The journal's forms leave out what has its default, for they are written at every change. Their readers raise
KeyError, TypeError or ValueError on a document that none of the writers made.
"""

from __future__ import annotations

from typing import Any

from service.email.record import Attachment, Content, Email, Recipient, RecipientStatus, State, Status
from service.email.times import from_z, to_z

Json = dict[str, Any]


def public(email: Email, *, body: bool = False) -> Json:
    """The record as the API shows it.

    Args:
        email: What to show.
        body: Whether `text` and `html` are part of it; lists leave them out.
    """
    content, state = email.content, email.state
    shown: Json = {
        "id": email.id,
        "object": "email",
        "status": state.status.value,
        "reason": state.reason,
        "rev": email.rev,
        "message_id": content.message_id,
        "from": content.sender,
        "to": list(content.to),
        "cc": list(content.cc),
        "bcc": list(content.bcc),
        "reply_to": list(content.reply_to),
        "subject": content.subject,
        "headers": dict(content.headers),
        "tags": list(content.tags),
        "template": content.template,
        "envelope_from": content.envelope_from,
        "attachments": [_attachment_to_json(one) for one in content.attachments],
        "created_at": to_z(email.created_at),
        "scheduled_at": to_z(state.scheduled_at),
        "next_attempt_at": to_z(state.next_attempt_at) if state.next_attempt_at else None,
        "attempts": state.attempts,
        "max_retries": state.max_retries,
        "retry_until": to_z(state.retry_until),
        "last_error": state.last_error,
        "recipients": [
            {"address": one.address, "status": one.status.value, "code": one.code, "reply": one.reply}
            for one in state.recipients
        ],
    }
    if body:
        shown["text"] = content.text
        shown["html"] = content.html
    return shown


def content_to_json(content: Content) -> Json:
    """What the journal keeps of a content."""
    document: Json = {
        "from": content.sender,
        "to": list(content.to),
        "subject": content.subject,
        "message_id": content.message_id,
    }
    for name in ("cc", "bcc", "reply_to", "tags"):
        values = getattr(content, name)
        if values:
            document[name] = list(values)
    for name in ("text", "html", "envelope_from", "template"):
        text = getattr(content, name)
        if text is not None:
            document[name] = text
    if content.headers:
        document["headers"] = dict(content.headers)
    if content.attachments:
        document["attachments"] = [_attachment_to_json(one) for one in content.attachments]
    return document


def content_from_json(document: Json) -> Content:
    """The inverse of `content_to_json`."""
    return Content(
        sender=document["from"],
        to=tuple(document["to"]),
        subject=document["subject"],
        message_id=document["message_id"],
        cc=tuple(document.get("cc", ())),
        bcc=tuple(document.get("bcc", ())),
        reply_to=tuple(document.get("reply_to", ())),
        text=document.get("text"),
        html=document.get("html"),
        headers=dict(document.get("headers", {})),
        tags=tuple(document.get("tags", ())),
        attachments=tuple(_attachment_from_json(one) for one in document.get("attachments", ())),
        envelope_from=document.get("envelope_from"),
        template=document.get("template"),
    )


def state_to_json(state: State) -> Json:
    """What the journal keeps of a state."""
    document: Json = {
        "status": state.status.value,
        "recipients": [_recipient_to_json(one) for one in state.recipients],
        "scheduled_at": to_z(state.scheduled_at),
        "max_retries": state.max_retries,
        "retry_until": to_z(state.retry_until),
        "gen": state.gen,
        "run": state.run,
        "attempts": state.attempts,
    }
    for name in ("reason", "last_error", "by", "digest"):
        text = getattr(state, name)
        if text is not None:
            document[name] = text
    for name in ("next_attempt_at", "sending_since", "date"):
        moment = getattr(state, name)
        if moment is not None:
            document[name] = to_z(moment)
    if state.deferrals:
        document["deferrals"] = state.deferrals
    return document


def state_from_json(document: Json) -> State:
    """The inverse of `state_to_json`."""
    moments = {
        name: from_z(document[name]) for name in ("next_attempt_at", "sending_since", "date") if name in document
    }
    return State(
        status=Status(document["status"]),
        recipients=tuple(_recipient_from_json(one) for one in document["recipients"]),
        scheduled_at=from_z(document["scheduled_at"]),
        max_retries=document["max_retries"],
        retry_until=from_z(document["retry_until"]),
        gen=document["gen"],
        run=document["run"],
        attempts=document["attempts"],
        reason=document.get("reason"),
        last_error=document.get("last_error"),
        by=document.get("by"),
        digest=document.get("digest"),
        deferrals=document.get("deferrals", 0),
        **moments,
    )


def _attachment_to_json(attachment: Attachment) -> Json:
    return {
        "filename": attachment.filename,
        "content_type": attachment.content_type,
        "size": attachment.size,
        "sha256": attachment.sha256,
        "content_id": attachment.content_id,
    }


def _attachment_from_json(document: Json) -> Attachment:
    return Attachment(
        document["filename"],
        document["content_type"],
        document["size"],
        document["sha256"],
        document.get("content_id"),
    )


def _recipient_to_json(recipient: Recipient) -> Json:
    document: Json = {"address": recipient.address, "status": recipient.status.value}
    if recipient.code is not None:
        document["code"] = recipient.code
    if recipient.reply is not None:
        document["reply"] = recipient.reply
    return document


def _recipient_from_json(document: Json) -> Recipient:
    return Recipient(
        document["address"], RecipientStatus(document["status"]), document.get("code"), document.get("reply")
    )
