"""The body of a request: mostly JSON, and never more of it in memory than is allowed."""

from __future__ import annotations

from starlette.requests import Request

MOST = 1024 * 1024
"""Bytes of a body, where nothing else is said."""


class BodyTooLarge(ValueError):
    """A body is larger than it may be."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The body is larger than {most:,} bytes ({most / 1024 / 1024:.3g} MiB).")


class UnsupportedMedia(ValueError):
    """A body says it is of another kind than what is read here, or is compressed.

    Attributes:
        accept: The media types that are read.
    """

    def __init__(self, detail: str, *, accept: str = "application/json") -> None:
        super().__init__(detail)
        self.accept = accept


async def read_json(request: Request, most: int = MOST) -> bytes:
    """The body of *request*, at most *most* bytes.

    Raises:
        UnsupportedMedia: Its headers say that it is something else than plain JSON in UTF-8.
        BodyTooLarge: It is too large; it was not read further than that.
    """
    _check_media(request)
    return await read_any(request, most)


async def read_any(request: Request, most: int = MOST) -> bytes:
    """The body of *request*, whatever it is, at most *most* bytes.

    Raises:
        UnsupportedMedia: It is compressed.
        BodyTooLarge: It is too large; it was not read further than that.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMedia("Send the body as it is, without Content-Encoding.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 20 or int(length) > most):
        raise BodyTooLarge(most)
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise BodyTooLarge(most)
        chunks.append(chunk)
    return b"".join(chunks)


def _check_media(request: Request) -> None:
    media, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if media != "application/json":
        raise UnsupportedMedia("Send JSON, with the header Content-Type: application/json.")
    for parameter in parameters:
        if parameter.startswith("charset=") and parameter.removeprefix("charset=").strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedMedia("Send JSON in UTF-8.")
