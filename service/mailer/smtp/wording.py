"""A relay's words, made fit for a record: one line, printable, of bounded length, without secrets."""

from __future__ import annotations

import base64
import re

import aiosmtplib

from service.email.record import Reply, Stage
from service.mailer.target import Target

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
_LONGEST = 1000


def to_reply(response: aiosmtplib.SMTPResponse, stage: Stage) -> Reply:
    """The answer to the command of *stage*."""
    return Reply(response.code, printable(response.message), stage)


def printable(text: str) -> str:
    """*text* with a space for each run of control characters, cut at 1,000 characters."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _UNPRINTABLE.sub(" ", text).strip()[:_LONGEST]


def sentence(error: Exception) -> str:
    """What *error* says, for people."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"the relay said {error.code} {printable(error.message)}"
    return printable(str(error)) or type(error).__name__


def without_secrets(text: str, target: Target) -> str:
    """*text* without the password in any form in which AUTH sends it: servers have been seen to echo it."""
    if not target.password:
        return text
    user, password = (target.username or "").encode(), target.password.encode()
    for secret in (password, base64.b64encode(password), base64.b64encode(b"\0" + user + b"\0" + password)):
        text = text.replace(secret.decode(), "***")
    return text
