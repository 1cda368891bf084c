"""How the service's processes log: one event a line, for people (console) or for programs (json), on standard error."""

from __future__ import annotations

import logging
import sys

import structlog

from service.settings import Settings

_TALKERS = ("uvicorn.error", "mail.log", "httpcore")
"""Libraries that tell each connection, or what we say ourselves: only their warnings are wanted."""


def configure(settings: Settings) -> None:
    """Send everything that `logging` and `structlog` log to standard error, in the format of *settings*."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _without_colours,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[structlog.types.Processor]
    if settings.log_format == "json":
        rendering = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        # Not the prettier traceback that it takes where `rich` is installed: that one shows the values of variables,
        # and so the text of e-mails, what a client sent, and passwords.
        plain = structlog.dev.plain_traceback
        rendering = [
            _without_controls,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),
        ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for talker in _TALKERS:
        logging.getLogger(talker).setLevel(max(logging.WARNING, root.level))


def _without_colours(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    # uvicorn sends each message a second time, with escape sequences in it.
    event.pop("color_message", None)
    return event


def _without_controls(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    # A path that somebody asks for, or what a relay answers, must not move a terminal's cursor nor begin a new line.
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable() and name != "stack":
            event[name] = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in value)
    return event
