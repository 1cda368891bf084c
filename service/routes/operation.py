"""What every endpoint says of itself: who may call it, what it takes and answers.

The guard reads the scope, and the OpenAPI document is made from the rest, so that neither can forget a route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from service.access.scopes import Scope

__all__ = ["METHODS", "Operation", "Scope", "operation", "operations"]

METHODS = ("get", "post", "put", "patch", "delete")
"""What an endpoint may answer to; HEAD is GET without its body."""

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        scope: Who may call it.
        summary: One line for people.
        tag: The group it is shown in.
        body: The model that the request's JSON is read by; None where there is none, or it is no JSON.
        media: The request's media type, where there is a body.
        query: The model that describes the query's parameters.
        answers: Status -> the model that describes the answer; None for one without JSON.
        problems: Statuses of problems that this operation may answer, beyond those that every one may.
        example: A request body that is accepted.
        answer_media: Media types of a good answer: of one that has a model the first is JSON.
        request_headers: Header fields that it heeds, beside those that every request may have.
        response_headers: Header fields of a good answer.
        hidden: Whether the OpenAPI document leaves it out, for it is part of a page.
        anywhere: Whether it is served to anyone from anywhere, though there be no keys: for links in e-mails, whose
            path is the secret.
    """

    scope: Scope
    summary: str
    tag: str = "Emails"
    body: type[BaseModel] | None = None
    media: str = "application/json"
    query: type[BaseModel] | None = None
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=lambda: {200: None})
    problems: Sequence[int] = ()
    example: Any = None
    answer_media: Sequence[str] = ("application/json",)
    request_headers: Sequence[str] = ()
    response_headers: Sequence[str] = ()
    hidden: bool = False
    anywhere: bool = False


def operation(scope: Scope, summary: str, **details: Any) -> Callable[[_Endpoint], _Endpoint]:
    """Describe an endpoint's method; the arguments are those of `Operation`."""
    described = Operation(scope, summary, **details)

    def mark(endpoint: _Endpoint) -> _Endpoint:
        endpoint.__dict__["operation"] = described
        return endpoint

    return mark


def operations(endpoint: object) -> dict[str, Operation]:
    """What the methods of an endpoint say of themselves: its name in lower case -> its description.

    One that says nothing is for `Scope.ADMIN`; a test fails for it.
    """
    found = {}
    for name in METHODS:
        method = getattr(endpoint, name, None)
        if method is not None:
            found[name] = getattr(method, "operation", None) or Operation(Scope.ADMIN, "")
    return found
