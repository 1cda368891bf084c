"""All templates: written, read, filled.

The newest version of a template is the document ``template:NAME``, every version ``edition:NAME@VERSION``. Of a deleted
one the number of its last version stays, so that NAME@VERSION, which e-mails say of themselves, never means two texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.email import header_fields
from service.email.draft import Filled, TemplateCall
from service.email.faults import Fault, InvalidRequest
from service.store.documents import Document
from service.store.store import Store
from service.store.transaction import Transaction
from service.templating.renderer import Renderer, Source

KIND = "template"
EDITION = "edition"


class TemplateNotFound(LookupError):
    """There is no such template, or not this version of it."""


class StaleVersion(Exception):
    """A template has another version than the one that was to be replaced.

    Attributes:
        version: The one it has.
    """

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"template {name!r} is at version {version}")
        self.version = version


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template.

    Attributes:
        version: From 1.
        created_at: When the template was first written.
        updated_at: When this version was.
    """

    name: str
    version: int
    source: Source
    created_at: datetime
    updated_at: datetime

    @property
    def label(self) -> str:
        """What e-mails made from it say: ``NAME@VERSION``."""
        return edition(self.name, self.version)


def edition(name: str, version: int) -> str:
    """The name of a version's document."""
    return f"{name}@{version}"


class Library:
    """The templates of a store."""

    def __init__(self, store: Store, renderer: Renderer) -> None:
        self._store = store
        self._renderer = renderer

    def get(self, name: str, version: int | None = None) -> Template:
        """A template; its newest version, or that one.

        Raises:
            TemplateNotFound: There is none.
        """
        document = self._store.document(KIND, name)
        if document is None or "text" not in document.data:
            raise TemplateNotFound(name)
        if version is None or version == document.data["version"]:
            return _template(name, document)
        older = self._store.document(EDITION, edition(name, version))
        if older is None:
            raise TemplateNotFound(edition(name, version))
        return _template(name, older)

    def page(self, limit: int, after: str | None = None) -> tuple[list[Template], bool]:
        """Up to *limit* templates whose names come after *after*; and whether there are more. For any thread."""
        found: list[Template] = []
        while len(found) <= limit:
            documents = self._store.documents(KIND, after=after, limit=limit + 1)
            found += [_template(one.name, one) for one in documents if "text" in one.data]
            if len(documents) <= limit:
                break
            after = documents[-1].name
        return found[:limit], len(found) > limit

    async def put(self, name: str, source: Source, version: int | None = None) -> tuple[Template, bool]:
        """Write a template: a new one, or the next version of one. The same text again changes nothing.

        Args:
            name: A checked one.
            source: Its parts.
            version: The version that it has to have now; None for any, and for none.

        Returns:
            The template; and whether there was none before.

        Raises:
            InvalidRequest: A part is no Jinja; it names each, with the line.
            StaleVersion: It has another version.
            TemplateNotFound: It was to have a version, and does not exist.
            StoreUnavailable: Nothing was written; repeating is safe.
        """
        await self._renderer.check(source)

        def write(transaction: Transaction) -> tuple[Document, bool]:
            before = transaction.document(KIND, name)
            exists = before is not None and _is_there(before)
            _check(name, before if exists else None, version)
            number = 1 if before is None else before.data["version"] + 1
            if before is not None and exists:
                if _source(before) == source:
                    return before, False
                transaction.put(EDITION, edition(name, number - 1), before.data, type="template.superseded")
            data = {"version": number, "subject": source.subject, "text": source.text, "html": source.html}
            event = "template.updated" if exists else "template.created"
            return transaction.put(KIND, name, data, type=event), not exists

        document, created = await self._store.write(write)
        return _template(name, document), created

    async def delete(self, name: str, version: int | None = None) -> None:
        """End a template, with all its versions.

        Args:
            name: Which one.
            version: The version that it has to have now; None for any.

        Raises:
            TemplateNotFound: There is none.
            StaleVersion: It has another version.
            StoreUnavailable: Nothing was written; repeating is safe.
        """

        def write(transaction: Transaction) -> None:
            before = transaction.document(KIND, name)
            if before is None or not _is_there(before):
                raise TemplateNotFound(name)
            _check(name, before, version)
            last = before.data["version"]
            for number in range(1, last):
                transaction.delete(EDITION, edition(name, number), type="template.superseded")
            transaction.put(KIND, name, {"version": last}, type="template.deleted")

        await self._store.write(write)

    async def preview(self, name: str, version: int | None, variables: dict[str, Any]) -> Filled:
        """What an e-mail made from a template would say.

        Raises:
            TemplateNotFound: There is no such template.
            InvalidRequest: It cannot be filled so; told below ``/variables``.
            CutShort: It cannot be filled so in time.
        """
        return await self._filled(self.get(name, version), variables, "/variables")

    async def fill(self, call: TemplateCall) -> Filled:
        """Make subject and bodies for an e-mail.

        Raises:
            InvalidRequest: There is no such template, or it cannot be filled so; told below ``/template``.
            CutShort: It cannot be filled so in time.
        """
        try:
            template = self.get(call.name, call.version)
        except TemplateNotFound:
            known = self._store.document(KIND, call.name)
            if call.version is None or known is None or not _is_there(known):
                raise InvalidRequest([Fault("/template/name", "is not the name of a template")]) from None
            detail = f"is not one of this template, which is at version {known.data['version']}"
            raise InvalidRequest([Fault("/template/version", detail)]) from None
        return await self._filled(template, call.variables, "/template/variables")

    async def _filled(self, template: Template, variables: dict[str, Any], told_at: str) -> Filled:
        kind = InvalidRequest
        try:
            rendered = await self._renderer.render(template.source, variables)
        except InvalidRequest as error:
            told, kind = [(one.pointer[1:], one.detail) for one in error.faults], type(error)
        else:
            subject = rendered.subject or ""
            complaint = header_fields.complaint_about_text(subject)
            if complaint is None:
                return Filled(subject, rendered.text, rendered.html, template.label)
            told = [("subject", complaint)]
        raise kind([Fault(told_at, f"do not fill {template.label}: its {part} {detail}") for part, detail in told])


def _is_there(document: Document) -> bool:
    return "text" in document.data


def _check(name: str, document: Document | None, version: int | None) -> None:
    """See that a template has the version that it is to have."""
    if version is None:
        return
    if document is None:
        raise TemplateNotFound(name)
    if document.data["version"] != version:
        raise StaleVersion(name, document.data["version"])


def _source(document: Document) -> Source:
    return Source(document.data["subject"], document.data["text"], document.data["html"])


def _template(name: str, document: Document) -> Template:
    return Template(name, document.data["version"], _source(document), document.created_at, document.updated_at)
