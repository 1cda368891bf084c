"""Builds and signs messages so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

from service.email.record import Content, Email
from service.mailer import addresses, mime
from service.mailer.dkim import PROCESSES, Signer

_AT_ONCE = 32 * 1024  # characters of text that are written in about a millisecond


class Builder:
    """From records to what is sent; the same bytes each time."""

    def __init__(self, blob: Callable[[str], bytes], signer: Signer | None = None) -> None:
        """Build with these.

        Args:
            blob: The bytes of a file by their SHA-256; called in any thread.
            signer: Signs the messages of its domains; None signs none.
        """
        self._blob = blob
        self._signer = signer
        self._threads = ThreadPoolExecutor(PROCESSES, "builder")  # as many large messages at once; none until needed

    async def build(self, email: Email, date: datetime) -> mime.Message:
        """The message of *email*, signed if its sender's domain is to be.

        Raises:
            ValueError, KeyError: As `mime.build`.
            SigningFailed: As `Signer.sign`.
        """
        if self._signer is None and _is_small(email.content):
            return mime.build(email, date, self._blob)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, email, date)

    def _work(self, email: Email, date: datetime) -> mime.Message:
        message = mime.build(email, date, self._blob)
        if self._signer is None:
            return message
        author = addresses.to_wire(addresses.split(email.content.sender)[1])
        return replace(message, data=self._signer.sign(author.rpartition("@")[2], message.data, date) + message.data)


def _is_small(content: Content) -> bool:
    return not content.attachments and len(content.text or "") + len(content.html or "") <= _AT_ONCE
