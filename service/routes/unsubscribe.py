"""``/unsubscribe/{token}``: what the links in e-mails lead to, for people and for their mail programs (RFC 8058).

Looking at the page changes nothing, for programs that guard mailboxes open every link. Whoever has the token may use
it, from anywhere and without a key.
"""

from __future__ import annotations

import html
import re
from email.message import Message
from typing import Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from service import suppression, unsubscribe
from service.email.faults import Fault, InvalidRequest
from service.routes.body import UnsupportedMedia, read_any
from service.routes.operation import Scope, operation
from service.routes.state import state_of
from service.suppression import Reason
from service.unsubscribe import ONE_CLICK, Link

MOST = 16 * 1024
"""Bytes of a form."""

_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_NAME = re.compile(r'(?im)^content-disposition:[^\r\n]*?;\s*name="?([^"\r\n;]*)')
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Unsubscribe</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem }}
body {{ color-scheme: light dark }}
button {{ font: inherit; padding: .5rem 1.5rem; cursor: pointer }}
</style>
<main>{}</main>
"""
_ASK = """
<h1>Unsubscribe</h1>
<p>No more e-mails to <strong>{address}</strong>?</p>
<form method="post"><button name="{name}" value="{value}">Unsubscribe</button></form>
"""
_DONE = """
<h1>You are unsubscribed</h1>
<p><strong>{address}</strong> gets no more e-mails from here.</p>
"""


class UnsubscribeForm(BaseModel):
    """The form that a mail program sends."""

    model_config = ConfigDict(extra="forbid")

    one_click: Literal["One-Click"] = Field(alias=ONE_CLICK[0], description="Always `One-Click`.")


class Unsubscribe(HTTPEndpoint):
    """One recipient of one e-mail."""

    @operation(
        Scope.PUBLIC,
        "Ask whether to unsubscribe",
        tag="Unsubscribe",
        answers={200: None},
        answer_media=("text/html",),
        problems=(404,),
        anywhere=True,
    )
    async def get(self, request: Request) -> Response:
        """A page with a button; only pressing it changes anything."""
        link = _link(request)
        entry = suppression.find(state_of(request)["store"], link.address)
        done = entry is not None and entry.reason in (Reason.UNSUBSCRIBE, Reason.COMPLAINT)
        return _page(_DONE if done else _ASK, link)

    @operation(
        Scope.PUBLIC,
        "Unsubscribe",
        tag="Unsubscribe",
        body=UnsubscribeForm,
        media=_URLENCODED,
        answers={200: None},
        answer_media=("text/html",),
        problems=(404, 413, 415, 422),
        anywhere=True,
        example={ONE_CLICK[0]: ONE_CLICK[1]},
    )
    async def post(self, request: Request) -> Response:
        """The address gets no more e-mails; again is the same. For the button, and for mail programs (RFC 8058)."""
        link = _link(request)
        await _check_form(request)
        await unsubscribe.follow(state_of(request)["store"], link)
        return _page(_DONE, link)


def _link(request: Request) -> Link:
    """What the token in the path says.

    Raises:
        HTTPException: This service did not make it.
    """
    link = unsubscribe.read(state_of(request)["store"], request.path_params["token"])
    if link is None:
        raise HTTPException(404)
    return link


async def _check_form(request: Request) -> None:
    """See that the body asks for it (RFC 8058, section 3.1): a program that tries links out would not say so.

    Raises:
        UnsupportedMedia: It is no form.
        InvalidRequest: It asks for something else.
    """
    given = request.headers.get("content-type", "")
    media = given.partition(";")[0].strip().lower()
    if media not in (_URLENCODED, _MULTIPART):
        raise UnsupportedMedia("Send the form List-Unsubscribe=One-Click.", accept=f"{_URLENCODED}, {_MULTIPART}")
    body = await read_any(request, MOST)
    if ONE_CLICK not in (_urlencoded(body) if media == _URLENCODED else _multipart(given, body)):
        raise InvalidRequest([Fault(ONE_CLICK[0], f"must be {ONE_CLICK[1]}")])


def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("latin-1"))


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of a form of short texts (RFC 7578)."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary() or ""
    parts = (part.partition("\r\n\r\n") for part in body.decode("latin-1").split(f"--{boundary}"))
    return [(name[1], value.strip()) for head, _, value in parts if (name := _NAME.search(head)) is not None]


def _page(main: str, link: Link) -> Response:
    name, value = ONE_CLICK
    filled = main.format(address=html.escape(link.address), name=name, value=value)
    return HTMLResponse(_PAGE.format(filled), headers=_HEADERS)
