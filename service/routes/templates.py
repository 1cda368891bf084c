"""``/v1/templates``: write, read, list, delete and try templates."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.email.faults import Fault, InvalidRequest, unknown
from service.email.strict_json import decode
from service.email.times import to_z
from service.routes.body import read_json
from service.routes.documents import PageQuery, name_of, parse_page, wanted_rev
from service.routes.operation import Scope, operation
from service.routes.reply import reply
from service.routes.shapes import Shape
from service.routes.state import state_of
from service.templating.library import Template
from service.templating.requests import PreviewBody, TemplateBody, read_preview, read_template

_LARGEST_VERSION = 2**31


class TemplateSummary(Shape):
    """A template without its bodies."""

    object: Literal["template"]
    name: str
    version: int
    subject: str | None
    created_at: str
    updated_at: str


class TemplateRecord(TemplateSummary):
    """A template: one version of it."""

    text: str | None
    html: str | None


class TemplateList(Shape):
    """A page of templates; `after` is the cursor of the next one."""

    object: Literal["list"]
    has_more: bool
    after: str | None
    data: list[TemplateSummary]


class PreviewAnswer(Shape):
    """What an e-mail made from a template would say."""

    object: Literal["preview"]
    template: str
    subject: str
    text: str | None
    html: str | None


class VersionQuery(BaseModel):
    """Which version is asked for."""

    version: int | None = Field(None, ge=1, le=_LARGEST_VERSION, description="One of its versions; absent, the newest.")


class Templates(HTTPEndpoint):
    """All templates."""

    @operation(
        Scope.READ, "List templates", tag="Templates", query=PageQuery, answers={200: TemplateList}, problems=(422,)
    )
    async def get(self, request: Request) -> Response:
        """Some of them, by name, each in its newest version."""
        limit, after = parse_page(request.query_params)
        found, has_more = await asyncio.to_thread(state_of(request)["templates"].page, limit, after)
        last = found[-1].name if found else None
        return reply({"object": "list", "has_more": has_more, "after": last, "data": [_summary(one) for one in found]})


class OneTemplate(HTTPEndpoint):
    """One template."""

    @operation(
        Scope.READ,
        "Read a template",
        tag="Templates",
        query=VersionQuery,
        answers={200: TemplateRecord},
        problems=(404, 422),
        response_headers=("ETag",),
    )
    async def get(self, request: Request) -> Response:
        """Its newest version, or the one that is asked for."""
        return _shown(state_of(request)["templates"].get(name_of(request), _version(request)))

    @operation(
        Scope.ADMIN,
        "Write a template",
        tag="Templates",
        body=TemplateBody,
        answers={200: TemplateRecord, 201: TemplateRecord},
        problems=(400, 404, 412, 413, 415, 422),
        request_headers=("If-Match",),
        response_headers=("ETag",),
        example={"subject": "Hello {{ name }}", "text": "Hello {{ name }}!", "html": "<p>Hello {{ name }}!</p>"},
    )
    async def put(self, request: Request) -> Response:
        """Make it, or its next version; the same text again changes nothing. E-mails made before stay as they are."""
        name, version = name_of(request), wanted_rev(request)
        source = read_template(decode(await read_json(request)))
        template, created = await state_of(request)["templates"].put(name, source, version)
        return _shown(template, 201 if created else 200)

    @operation(
        Scope.ADMIN,
        "Delete a template",
        tag="Templates",
        answers={204: None},
        problems=(404, 412, 422),
        request_headers=("If-Match",),
    )
    async def delete(self, request: Request) -> Response:
        """End it, with all its versions. E-mails made from it stay as they are; schedules with it fail."""
        await state_of(request)["templates"].delete(name_of(request), wanted_rev(request))
        return Response(status_code=204)


class Preview(HTTPEndpoint):
    """The trying of one template."""

    @operation(
        Scope.READ,
        "Fill a template and send nothing",
        tag="Templates",
        body=PreviewBody,
        answers={200: PreviewAnswer},
        problems=(400, 404, 413, 415, 422),
        example={"variables": {"name": "Ann"}},
    )
    async def post(self, request: Request) -> Response:
        """Subject, text and html as an e-mail made from it with these variables would have them."""
        name = name_of(request)
        asked = read_preview(decode(await read_json(request)))
        filled = await state_of(request)["templates"].preview(name, asked.version, asked.variables)
        return reply(
            {
                "object": "preview",
                "template": filled.label,
                "subject": filled.subject,
                "text": filled.text,
                "html": filled.html,
            }
        )


def _version(request: Request) -> int | None:
    query = request.query_params
    faults = [Fault(name[:100], unknown(name, ("version",))) for name in query if name != "version"]
    given = query.getlist("version")
    number = given[0] if given else "1"
    if len(given) > 1 or not (number.isascii() and number.isdecimal() and 1 <= int(number[:11]) <= _LARGEST_VERSION):
        faults.append(Fault("version", "must be a whole number from 1, given once"))
    if faults:
        raise InvalidRequest(sorted(faults))
    return int(number) if given else None


def _shown(template: Template, status: int = 200) -> Response:
    document = _summary(template) | {"text": template.source.text, "html": template.source.html}
    return reply(document, status, {"ETag": f'"{template.version}"'})


def _summary(template: Template) -> dict[str, Any]:
    return {
        "object": "template",
        "name": template.name,
        "version": template.version,
        "subject": template.source.subject,
        "created_at": to_z(template.created_at),
        "updated_at": to_z(template.updated_at),
    }
