"""What is wrong with a request, field by field."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

MOST = 100
"""Faults told of one request; the work for a hostile one stays bounded."""

_LONGEST_TOKEN = 100
_SUGGESTED = 10  # unknown names that are compared with the known ones, which takes a while for each
_WORDS = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "bool_type": "must be true or false",
    "bytes_type": "must be a string",
    "missing": "is required",
}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One bad field.

    Attributes:
        pointer: Where it is in the body, an RFC 6901 JSON pointer; for a query or a header, its name.
        detail: What is wrong and what is right; reads on from the field's name. It never repeats a value.
    """

    pointer: str
    detail: str


class InvalidRequest(ValueError):
    """A request has at least one bad field."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer} {fault.detail}" for fault in faults))
        self.faults = tuple(faults)


def present(body: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The fields of *body* that say something. A null is as good as absent, but not where no such field is *known*."""
    return {name: value for name, value in body.items() if value is not None or name not in known}


def pointer(*tokens: str | int) -> str:
    """The JSON pointer of *tokens*; a token of the user's own making is cut at 100 characters."""
    return "".join("/" + str(token)[:_LONGEST_TOKEN].replace("~", "~0").replace("/", "~1") for token in tokens)


def explain(
    error: ValidationError,
    body: Mapping[str, Any],
    fields: Collection[str],
    nested: Mapping[str, Collection[str]] | None = None,
) -> list[Fault]:
    """The faults that pydantic found in *body*, whose known names are *fields*.

    Args:
        error: What pydantic raised.
        body: What it was raised for.
        fields: The names known in *body*.
        nested: Those known in objects below a field, by that field's name.
    """
    faults, strange = [], 0
    for one in error.errors(include_url=False, include_input=False)[:MOST]:
        strange += one["type"] == "extra_forbidden"
        known = _known(one["loc"], fields, nested) if strange <= _SUGGESTED else ()
        faults.append(_explain(one["type"], one["loc"], one["msg"], one.get("ctx") or {}, body, known))
    return faults


def _known(
    location: tuple[str | int, ...], fields: Collection[str], nested: Mapping[str, Collection[str]] | None
) -> Collection[str]:
    return fields if len(location) == 1 else (nested or {}).get(str(location[0]), ())


def _explain(
    kind: str,
    location: tuple[str | int, ...],
    message: str,
    context: Mapping[str, Any],
    body: Mapping[str, Any],
    fields: Collection[str],
) -> Fault:
    where = pointer(*_existing(location, body))
    if kind == "extra_forbidden":
        return Fault(where, unknown(str(location[-1]), fields))
    if kind == "value_error":
        return Fault(where, str(context["error"]))
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = "at least" if kind == "greater_than_equal" else "at most"
        return Fault(where, f"must be {bound} {context.get('ge', context.get('le'))}")
    if kind == "string_too_long":
        return Fault(where, f"must be at most {context['max_length']} characters long")
    if kind == "too_long":
        return Fault(where, f"must have at most {context['max_length']} entries")
    if kind == "too_short":
        return Fault(where, f"must have at least {context['min_length']} entry")
    return Fault(where, _WORDS.get(kind, message))


def unknown(name: str, known: Collection[str]) -> str:
    """What to say of a field or parameter that does not exist."""
    near = difflib.get_close_matches(name[:_LONGEST_TOKEN], known, n=1, cutoff=0.7)
    if near:
        return f"does not exist; did you mean {near[0]}?"
    return f"does not exist; known are {', '.join(sorted(known))}" if known else "does not exist"


def _existing(location: tuple[str | int, ...], body: Any) -> list[str | int]:
    """*location* as far as the body goes that way: a lone address is read as a list of one, but is none."""
    tokens: list[str | int] = []
    for token in location:
        if isinstance(token, int) and not isinstance(body, list):
            break
        tokens.append(token)
        if isinstance(body, list) and isinstance(token, int):
            body = body[token]
        else:
            body = body.get(token) if isinstance(body, dict) else None
    return tokens
