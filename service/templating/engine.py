"""What a template may do: Jinja in a sandbox. Runs in the process of `service.templating.child` alone.

A template is a program of somebody who may send e-mails, not of somebody who may run programs here: no files, no
attributes that begin with an underscore, nothing it is given can be changed. What it prints must be there (strict
undefined) and must not be null; HTML is escaped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

_LONGEST_DETAIL = 300
_LOADING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_TOLD = (TemplateError, TypeError, ZeroDivisionError)
"""Errors whose words say nothing of the values that a template is given."""


class Broken(Exception):
    """A part of a template cannot be compiled or filled; the message says why, with its line."""


def _printed(value: object) -> object:
    """What ``{{ value }}`` prints: nobody is to be greeted as None."""
    if value is None:
        raise UndefinedError("it prints a null; give it a value, or use the filter default('...', true)")
    return value


def _environment(*, html: bool, line: bool = False) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=html,
        undefined=StrictUndefined,
        finalize=_printed,
        keep_trailing_newline=not line,
        cache_size=0,
    )
    del environment.globals["lipsum"]
    return environment


_ENVIRONMENTS = {
    "subject": _environment(html=False, line=True),
    "text": _environment(html=False),
    "html": _environment(html=True),
}


@functools.lru_cache(maxsize=64)
def compiled(part: str, text: str) -> Template:
    """The template *text* of one part of an e-mail: ``subject``, ``text`` or ``html``.

    Raises:
        Broken: It is no template, or wants to load another.
    """
    environment = _ENVIRONMENTS[part]
    try:
        for node in environment.parse(text).find_all(_LOADING):
            raise Broken(f"has in line {node.lineno}: a template cannot load another one here")
        return environment.from_string(text)
    except TemplateSyntaxError as error:
        raise Broken(f"has in line {error.lineno}: {_cut(error.message or 'syntax error')}") from error
    except RecursionError as error:
        raise Broken("is nested too deeply") from error
    except (TemplateError, SyntaxError, ValueError) as error:  # Jinja lets errors of what it makes of it through
        raise Broken(_cut(f"cannot be compiled: {error}")) from error


def fill(part: str, text: str, variables: dict[str, Any], most: int) -> str:
    """What the template *text* comes to.

    Args:
        part: Which part of an e-mail it is.
        text: The template.
        variables: Its names and their values.
        most: Characters that it may come to.

    Raises:
        Broken: It cannot be filled so.
        MemoryError: There is too little memory for it here.
    """
    template = compiled(part, text)
    try:
        filled = "".join(_bounded(template.generate(variables), most))
        filled.encode()
    except (Broken, MemoryError):
        raise
    except UnicodeEncodeError as error:
        raise Broken("comes to half of a surrogate pair, which is no text") from error
    except RecursionError as error:
        raise Broken("calls itself too deeply") from error
    except Exception as error:  # a template is a program: it may raise anything
        told = str(error) if isinstance(error, _TOLD) else f"{type(error).__name__} was raised"
        raise Broken(_line(error) + _cut(told)) from error
    return filled


def _bounded(chunks: Iterator[str], most: int) -> Iterator[str]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise Broken(f"comes to more than {most:,} characters")
        yield chunk


def _line(error: BaseException) -> str:
    """Where in the template it was raised, as far as is known."""
    number, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            number = traceback.tb_lineno
        traceback = traceback.tb_next
    return "fails: " if number is None else f"fails in line {number}: "


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + "..."
