"""The body of ``POST /v1/emails``: from bytes to a draft, or to every fault in them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.email import header_fields, mailbox, times
from service.email.faults import Fault, InvalidRequest, explain, pointer
from service.email.mailbox import Mailbox
from service.email.strict_json import decode

MOST_RECIPIENTS = 100
MOST_TAGS = 20
LONGEST_TAG = 100
LONGEST_SUBJECT = 998
MOST_RETRIES = 100
_MOST_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Draft:
    """An e-mail as it was asked for, checked. None stands for the default.

    Attributes:
        scheduled_at: None sends at once.
        retry_until: None for `service.email.life.default_retry_until`.
    """

    sender: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    bcc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    text: str | None
    html: str | None
    headers: dict[str, str]
    tags: tuple[str, ...]
    scheduled_at: datetime | None
    max_retries: int | None
    retry_until: datetime | None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The envelope: every address of to, cc and bcc, once."""
        return tuple(dict.fromkeys(one.address for one in (*self.to, *self.cc, *self.bcc)))


def parse(
    body: bytes,
    *,
    now: datetime,
    write_header: Callable[[str, str], object],
    default_from: str | None = None,
) -> Draft:
    """Read a request to send one e-mail.

    Args:
        body: JSON.
        now: The queue's time, against which the requested times are checked.
        write_header: Writes one extra header as the message will have it, or raises ValueError if that cannot be done.
        default_from: The sender where the request names none.

    Raises:
        InvalidJson: The body is not a JSON object.
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    document = {key: value for key, value in decode(body).items() if value is not None}
    if len(document) > _MOST_FIELDS:  # before each is looked at: a hostile object may have very many
        raise InvalidRequest([Fault("", f"has {len(document):,} fields; known are {', '.join(sorted(_NAMES))}")])
    faults = []
    if default_from is not None:
        document.setdefault("from", default_from)
    fields = None
    try:
        fields = _Fields.model_validate(document)
    except ValidationError as error:
        faults = explain(error, document, _NAMES)
    scheduled_at, retry_until, wrong = _times(document, now)
    faults += [*wrong, *_bodies(document), *_headers(document, write_header), *_recipients(document)]
    if faults or fields is None:
        raise InvalidRequest(sorted(set(faults)))
    return Draft(
        sender=fields.sender,
        to=tuple(fields.to),
        cc=tuple(fields.cc),
        bcc=tuple(fields.bcc),
        reply_to=tuple(fields.reply_to),
        subject=fields.subject,
        text=fields.text,
        html=fields.html,
        headers=fields.headers,
        tags=tuple(dict.fromkeys(fields.tags)),
        scheduled_at=scheduled_at,
        max_retries=fields.max_retries,
        retry_until=retry_until,
    )


def _listed(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ValueError("must be an address or a list of addresses")  # noqa: TRY004 - pydantic's contract
    if len(value) > MOST_RECIPIENTS:  # before each is looked at: a hostile list may be very long
        raise ValueError(f"must have at most {MOST_RECIPIENTS} entries")
    return value


def _header_safe(value: str) -> str:
    complaint = header_fields.complaint_about_text(value)
    if complaint is not None:
        raise ValueError(complaint)
    return value


def _mailbox(value: object) -> Mailbox:
    if not isinstance(value, str):
        raise ValueError("must be a string, such as Name <local@example.com>")  # noqa: TRY004 - pydantic's contract
    return mailbox.parse(value)


_Mailbox = Annotated[Mailbox, BeforeValidator(_mailbox)]
_Mailboxes = Annotated[list[_Mailbox], BeforeValidator(_listed)]
_Tag = Annotated[str, Field(min_length=1, max_length=LONGEST_TAG), AfterValidator(_header_safe)]


class _Fields(BaseModel):
    """The fields that can be judged one by one."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    sender: _Mailbox = Field(alias="from")
    to: _Mailboxes = Field(min_length=1)
    cc: _Mailboxes = []
    bcc: _Mailboxes = []
    reply_to: _Mailboxes = []
    subject: Annotated[str, Field(max_length=LONGEST_SUBJECT), AfterValidator(_header_safe)] = ""
    text: str | None = None
    html: str | None = None
    headers: dict[str, Any] = {}
    tags: list[_Tag] = Field([], max_length=MOST_TAGS)
    scheduled_at: Any = None
    timezone: str | None = None
    max_retries: int | None = Field(None, ge=0, le=MOST_RETRIES)
    retry_until: Any = None


_NAMES = frozenset(field.alias or name for name, field in _Fields.model_fields.items())


def _bodies(document: Mapping[str, Any]) -> Iterable[Fault]:
    if "text" not in document and "html" not in document:
        yield Fault("/text", "is required unless html is given")


def _headers(document: Mapping[str, Any], write: Callable[[str, str], object]) -> Iterable[Fault]:
    headers = document.get("headers")
    if not isinstance(headers, dict):
        return
    if len(headers) > header_fields.MOST:
        yield Fault("/headers", f"must have at most {header_fields.MOST} entries")
        return
    seen: dict[str, str] = {}
    for name, value in headers.items():
        complaint = header_fields.complaint_about_header(name, value)
        if complaint is None and name.lower() in seen:
            complaint = f"is the same header as {seen[name.lower()]}"
        if complaint is None and not _can_write(name, value, write):
            complaint = "cannot be written: this header takes ASCII only, or one of its words is too long for a line"
        if complaint is not None:
            yield Fault(pointer("headers", name), complaint)
        seen[name.lower()] = name


def _can_write(name: str, value: str, write: Callable[[str, str], object]) -> bool:
    try:
        write(name, value)
    except ValueError:
        return False
    return True


def _recipients(document: Mapping[str, Any]) -> Iterable[Fault]:
    given = sum(len(document[name]) for name in ("to", "cc", "bcc") if isinstance(document.get(name), list))
    given += sum(isinstance(document.get(name), str) for name in ("to", "cc", "bcc"))
    if given > MOST_RECIPIENTS:
        yield Fault("/to", f"has, with cc and bcc, {given} recipients; at most {MOST_RECIPIENTS} are allowed")


def _times(document: Mapping[str, Any], now: datetime) -> tuple[datetime | None, datetime | None, list[Fault]]:
    """The requested times and what is wrong with them, which depends on the time zone beside them."""
    zone = document.get("timezone")
    faults: list[Fault] = []
    found: dict[str, datetime] = {}
    if zone is not None and not ("scheduled_at" in document or "retry_until" in document):
        faults.append(Fault("/timezone", "has no effect without scheduled_at; leave it out, or say when to send"))
    for name in ("scheduled_at", "retry_until"):
        if name in document and (zone is None or isinstance(zone, str)):
            try:
                found[name] = times.not_past(times.parse(document[name], zone), now)
            except times.InvalidZone as error:
                faults.append(Fault("/timezone", str(error)))
            except times.InvalidTime as error:
                faults.append(Fault(pointer(name), str(error)))
    scheduled_at, retry_until = found.get("scheduled_at"), found.get("retry_until")
    if retry_until is not None and retry_until <= (scheduled_at or now):
        faults.append(Fault("/retry_until", "must lie after scheduled_at; it is when the service gives up"))
    return scheduled_at, retry_until, faults
