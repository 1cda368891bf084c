"""The operations of the routes, each with where it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from service.routes.operation import Operation, operations

_CONVERTOR = re.compile(r"\{(\w+):\w+\}")


class Described(NamedTuple):
    """One operation and where it is.

    Attributes:
        path: With its parameters in braces.
        method: In lower case.
        description: The first paragraph of its docstring.
    """

    path: str
    method: str
    operation: Operation
    description: str

    @property
    def id(self) -> str:
        """A name for programs that are made from the document."""
        return re.sub(r"[^a-z0-9]+", "_", f"{self.method}{self.path}".lower()).strip("_")


def described(routes: Iterable[Any]) -> list[Described]:
    """The operations of *routes*, but for the hidden ones, in their order."""
    return [
        Described(
            _CONVERTOR.sub(r"{\1}", route.path), method, operation, _paragraph(getattr(route.endpoint, method).__doc__)
        )
        for route in routes
        for method, operation in operations(route.endpoint).items()
        if not operation.hidden
    ]


def _paragraph(docstring: str | None) -> str:
    return " ".join((docstring or "").split("\n\n")[0].split())
