"""From a raw message to what it reports: a delivery status (RFC 3464), a complaint (RFC 5965), or the form Exim had."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.bounces.parts import Fields, Part, blocks, fields, head_and_body, open_message

LONGEST_TEXT = 500
"""Characters of a server's words that are kept."""

_STATUSES = ("message/delivery-status", "message/global-delivery-status")
_RETURNED = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
_MOST_RECIPIENTS = 200
_LONGEST_BODY = 20_000  # of a text that says why, in bytes
_NO_COMPLAINTS = ("not-spam", "auth-failure", "virus", "dmarc")
_ID = re.compile(r"\bem_[0-7][0-9A-HJKMNP-TV-Z]{25}@[^\s<>@\"(),;]{1,255}", re.ASCII)
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])", re.ASCII)
_CODE = re.compile(r"\s*([245]\d\d)(?![\d.])", re.ASCII)
_SAID = re.compile(r"\b([45]\d\d)[ -](?:([45]\.\d{1,3}\.\d{1,3}) )?", re.ASCII)
_ABOUT_THE_ADDRESS = re.compile(r"5\.(0\.\d+|1\.(?![78]$)\d+|2\.[01]|4\.(1|4|310))", re.ASCII)
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


class UnreadableReport(ValueError):
    """A message is no report that can be used; the text says why, ready for the user."""


class Action(StrEnum):
    """What a report says about one recipient (RFC 3464, section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    COMPLAINT = "complaint"
    """The recipient calls it spam (RFC 5965)."""
    NO_COMPLAINT = "no_complaint"
    """The recipient reports something else about it, such as that it is not spam."""


_DELIVERY = (Action.FAILED, Action.DELAYED, Action.DELIVERED, Action.RELAYED, Action.EXPANDED)


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report says about one recipient.

    Attributes:
        addresses: What the recipient may be called, the original address first; empty where the report hides it.
        status: The enhanced status code (RFC 3463), such as ``5.1.1``; None if there is none.
        code: The three digits of the server's answer, if the report has it.
        text: The server's words, or the type of a complaint; may be empty.
    """

    addresses: tuple[str, ...]
    action: Action
    status: str | None = None
    code: int | None = None
    text: str = ""

    @property
    def is_hard(self) -> bool:
        """Whether more mail to this address is in vain.

        A permanent failure that is about the message, its sender or the moment says nothing of the kind: a full
        mailbox (5.2.2), a message that is too large, a policy or a reputation (5.7.x), a relay's patience (5.4.7).
        """
        return self.action is Action.FAILED and bool(_ABOUT_THE_ADDRESS.fullmatch(self.status or ""))


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes:
        message_ids: What the message may be that it is about, the likeliest first, without angle brackets; at least
            one. All have the shape of this service's own.
        recipients: At least one.
    """

    message_ids: tuple[str, ...]
    recipients: tuple[Reported, ...]


def read(data: bytes) -> Report:
    """What the message *data* reports.

    Raises:
        UnreadableReport: It is no report, or none of an e-mail of this service.
    """
    top, parts = open_message(data)
    recipients = tuple(_recipients(top, parts))
    if not recipients:
        raise UnreadableReport(
            "is no report about recipients: no delivery status (RFC 3464) or feedback report (RFC 5965) is in it"
        )
    ids = tuple(dict.fromkeys(_message_ids(top, parts))) or tuple(_ID.findall(data.decode("utf-8", "replace"))[:1])
    if not ids:
        raise UnreadableReport("does not name an e-mail of this service: no Message-ID such as <em_...@...> is in it")
    return Report(ids, recipients)


def _recipients(top: Fields, parts: Sequence[Part]) -> Iterator[Reported]:
    for part in parts:
        if part.kind == "message/feedback-report":
            yield from _complaint(fields(part.body.strip()))
            return
    statuses = [part for part in parts if part.kind in _STATUSES]
    if statuses:
        for block in blocks(statuses[0].body):
            reported = _delivery(block)
            if reported is not None:
                yield reported
    elif top.get("x-failed-recipients"):
        yield from _exim(top, parts)


def _delivery(block: Fields) -> Reported | None:
    """One recipient of a delivery status (RFC 3464, section 2.3); None for the fields about the whole message."""
    named = [_address(block.get(name)) for name in ("original-recipient", "final-recipient")]
    action = block.get("action").lower().partition(" ")[0]
    if not any(named) or action not in _DELIVERY:
        return None
    text = block.get("diagnostic-code").partition(";")[2].strip() or block.get("status")
    code = _CODE.match(text)
    status = _STATUS.search(block.get("status")) or _STATUS.search(text)
    return Reported(
        tuple(dict.fromkeys(filter(None, named))),
        Action(action),
        status[0] if status else _general(code),
        int(code[1]) if code else None,
        _words(text),
    )


def _complaint(report: Fields) -> Iterator[Reported]:
    """The recipients of a feedback report (RFC 5965, section 3); most providers hide them."""
    kind = report.get("feedback-type").lower() or "abuse"
    action = Action.NO_COMPLAINT if kind in _NO_COMPLAINTS else Action.COMPLAINT
    named = [_address(f"rfc822;{value}") for value in report.all("original-rcpt-to")][:_MOST_RECIPIENTS]
    for address in named or [""]:
        yield Reported((address,) if address else (), action, text=_words(kind))


def _exim(top: Fields, parts: Iterable[Part]) -> Iterator[Reported]:
    """The recipients of a report by an Exim before 4.83: a header names them, a text says why."""
    body = next((part.body for part in parts if part.kind == "text/plain"), b"")[:_LONGEST_BODY]
    text = body.decode("utf-8", "replace").replace("\r\n", "\n")
    named = (_address(f"rfc822;{value}") for value in top.get("x-failed-recipients").split(",")[:_MOST_RECIPIENTS])
    for address in filter(None, named):
        reason = text.partition(address)[2].strip().partition("\n\n")[0]
        said = _SAID.search(reason)
        yield Reported(
            (address,),
            Action.FAILED,
            (said[2] or _general(said)) if said else None,
            int(said[1]) if said else None,
            _words(reason[said.start() :] if said else reason),
        )


def _message_ids(top: Fields, parts: Iterable[Part]) -> Iterator[str]:
    """Of the message that came back, and of the one that the report says it answers."""
    for part in parts:
        if part.kind in _RETURNED:
            returned = fields(head_and_body(part.body.lstrip())[0])
            yield from _ID.findall(returned.get("message-id"))
    yield from _ID.findall(top.get("in-reply-to"))
    yield from reversed(_ID.findall(top.get("references")[-5_000:]))


def _address(value: str) -> str:
    """The address in ``type; address`` (RFC 3464, section 2.1.2; RFC 6533, section 3); empty if there is none."""
    _, _, text = value.partition(";")
    text = _ESCAPED.sub(lambda match: _character(match[1]), text).strip()
    alone = re.search(r"<([^<>]*)>", text)
    found = alone[1] if alone else text.partition(" ")[0]
    return found.strip() if "@" in found else ""


def _character(digits: str) -> str:
    number = int(digits, 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else ""


def _general(code: re.Match[str] | None) -> str | None:
    """The status that an answer without one has (RFC 3463, section 2)."""
    return f"{code[1][0]}.0.0" if code else None


def _words(text: str) -> str:
    """*text* on one line, without what cannot be shown."""
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * LONGEST_TEXT])
    return " ".join(shown.split())[:LONGEST_TEXT]
