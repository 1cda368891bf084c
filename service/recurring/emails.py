"""The e-mail of a schedule: checked when the schedule is written, made anew with every fire."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from service.email import request
from service.email.draft import Draft
from service.outbox import Outbox
from service.outbox.composing import Composed
from service.recurring.definition import Definition


async def compose(outbox: Outbox, definition: Definition) -> Composed:
    """The e-mail as it would be accepted now.

    Raises:
        InvalidRequest: It cannot be.
    """
    return await outbox.compose(request.read(definition.email, outbox.terms()))


async def checked(outbox: Outbox, definition: Definition) -> Definition:
    """*definition*, if its e-mail could be accepted now; its files are kept, and it names them by their SHA-256.

    Raises:
        InvalidRequest: It could not be.
    """
    draft = await asyncio.to_thread(request.read, definition.email, outbox.terms())
    await outbox.keep([await outbox.compose(draft)])
    if not draft.files:
        return definition
    return replace(definition, email={**definition.email, "attachments": _by_digest(draft)})


def _by_digest(draft: Draft) -> list[dict[str, Any]]:
    files = []
    for attachment in (file.attachment for file in draft.files):
        named = {
            "filename": attachment.filename,
            "content_type": attachment.content_type,
            "sha256": attachment.sha256,
        }
        if attachment.content_id is not None:
            named["content_id"] = attachment.content_id
        files.append(named)
    return files
