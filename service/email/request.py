"""The body of ``POST /v1/emails``: from JSON to a draft, or to every fault in it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from service.email import header_fields, request_times
from service.email.draft import Draft, File, TemplateCall
from service.email.faults import Fault, InvalidRequest, explain, pointer, present
from service.email.request_fields import MOST_RECIPIENTS, NESTED, EmailRequest, TemplateRequest, names
from service.email.terms import Terms

UNSUBSCRIBE_HEADERS = ("List-Unsubscribe", "List-Unsubscribe-Post")
"""The headers that the service writes itself where `unsubscribe` asks for them (RFC 8058)."""

_MOST_FIELDS = 100
_NAMES = names(EmailRequest)
_LISTS = ("to", "cc", "bcc", "reply_to")


def read(request: Mapping[str, Any], terms: Terms) -> Draft:
    """Read a request to send one e-mail.

    Args:
        request: Its JSON, as `strict_json` lets it through. A null is as good as absent.
        terms: What it is held to.

    Raises:
        InvalidRequest: Fields of it are wrong; it names all of them.
    """
    given = present(request, _NAMES)
    if len(given) > _MOST_FIELDS:  # before each is looked at: a hostile object may have very many
        raise InvalidRequest([Fault("", f"has {len(given):,} fields; known are {', '.join(sorted(_NAMES))}")])
    if terms.default_from is not None:
        given.setdefault("from", terms.default_from)
    # An address alone is a list of one from here on; faults point into what was sent.
    document = given | {name: [given[name]] for name in _LISTS if isinstance(given.get(name), str)}
    fields, faults = None, []
    try:
        fields = EmailRequest.model_validate(document, context=terms)
    except ValidationError as error:
        faults = explain(error, given, _NAMES, NESTED)
    asked = request_times.read(document, terms.now)
    faults += [*asked.faults, *_bodies(document), *_headers(document, terms.write_header), *_recipients(document)]
    files = () if fields is None else tuple(one.file(terms) for one in fields.attachments)
    faults += [*_files(files, terms), *_unsubscribe(document, fields, terms)]
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
        scheduled_at=asked.scheduled_at,
        max_retries=fields.max_retries,
        retry_until=asked.retry_until,
        files=files,
        envelope_from=fields.envelope_from,
        template=_call(fields.template),
        unsubscribe=fields.unsubscribe,
    )


def _call(template: TemplateRequest | None) -> TemplateCall | None:
    return None if template is None else TemplateCall(template.name, template.version, template.variables)


def _bodies(document: Mapping[str, Any]) -> Iterable[Fault]:
    if "template" in document:
        for name in ("text", "html"):
            if name in document:
                yield Fault(pointer(name), "cannot be given beside template, which makes it")
    elif "text" not in document and "html" not in document:
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
    if given > MOST_RECIPIENTS:
        yield Fault("/to", f"has, with cc and bcc, {given} recipients; at most {MOST_RECIPIENTS} are allowed")


def _files(files: tuple[File, ...], terms: Terms) -> Iterable[Fault]:
    seen: dict[str, int] = {}
    for index, content_id in enumerate(file.attachment.content_id for file in files):
        if content_id is not None and seen.setdefault(content_id, index) != index:
            where = pointer("attachments", index, "content_id")
            yield Fault(where, f"is that of attachment {seen[content_id]}, too; each needs its own")
    total = sum(file.attachment.size for file in files)
    if total > terms.most_bytes:
        yield Fault("/attachments", f"have {total:,} bytes together; a message may have {terms.most_bytes:,}")


def _unsubscribe(document: Mapping[str, Any], fields: EmailRequest | None, terms: Terms) -> Iterable[Fault]:
    if document.get("unsubscribe") is not True:
        return
    if not terms.unsubscribe:
        yield Fault("/unsubscribe", "needs the setting SERVICE_PUBLIC_URL, the address that recipients reach")
    headers = document.get("headers")
    for name in headers if isinstance(headers, dict) else ():
        if name.lower() in {one.lower() for one in UNSUBSCRIBE_HEADERS}:
            yield Fault(pointer("headers", name), "cannot be given beside unsubscribe, which writes it")
    if fields is not None:
        addresses = {one.address for one in (*fields.to, *fields.cc, *fields.bcc)}
        if len(addresses) != 1:
            yield Fault("/unsubscribe", f"needs an e-mail to one recipient, not {len(addresses)}")
