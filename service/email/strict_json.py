"""JSON from strangers: what parsers let through, and no e-mail may carry, is refused here.

That is: a key twice in one object (the second would silently win), NaN and Infinity, numbers too large to be kept,
half a surrogate pair (no UTF-8 can carry it), and nesting that would exhaust the stack.
"""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 20
"""Levels of nesting."""

_LONGEST_NUMBER = 30


class InvalidJson(ValueError):
    """A body is not JSON this service reads; the message says why, ready for the user."""


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object that *body* is.

    Raises:
        InvalidJson: It is not UTF-8, not JSON, not an object, or holds what is refused.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"the body is not UTF-8 (at byte {error.start})") from error
    if not text.strip():
        raise InvalidJson("the body is empty; it must be a JSON object, {...}")
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise InvalidJson(_TOO_DEEP) from error
    if not isinstance(document, dict):
        raise InvalidJson("the body must be a JSON object, {...}")
    _walk(document)
    return document


_TOO_DEEP = f"the body is nested more than {DEEPEST} levels deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidJson(f"the key {twice[:100]!a} appears twice in one object")
    return found


def _constant(name: str) -> Any:
    raise InvalidJson(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise InvalidJson(f"a number has {len(digits):,} digits; at most {_LONGEST_NUMBER} are read")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits) if len(digits) <= _LONGEST_NUMBER else float("inf")
    if number in (float("inf"), float("-inf")):
        raise InvalidJson("a number is too large or too long")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_fraction
)


def _walk(document: Any) -> None:
    """Refuse nesting below `DEEPEST` and half surrogate pairs, in values and names."""
    level = [document]
    for _ in range(DEEPEST):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise InvalidJson(_TOO_DEEP)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidJson("the body has half a surrogate pair (\\ud800 to \\udfff) in a string") from error
    return []
