"""The process that fills templates: ``python -m service.templating.child SECONDS MEMORY MOST``.

It ends with its parent (end of input), and by itself a second after a template should have been killed, should its
parent not live to do that. Once it is ready it can open no file, start no process and use little memory: a template
that got out of the sandbox would find itself in a cell.
"""

from __future__ import annotations

import encodings.unicode_escape  # noqa: F401 - filters import these when they are used, which is too late in here
import html  # noqa: F401
import pprint  # noqa: F401
import resource
import signal
import sys
import textwrap  # noqa: F401
from typing import BinaryIO

import jinja2.debug

from service.templating import engine, frames
from service.templating.frames import Answer, Request

_GRACE = 1.0  # seconds that the parent gets to kill this process before it ends by itself


def main() -> None:
    """Answer requests until there are no more."""
    seconds, memory, most = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to all; this one ends with its parent
    _confine(memory)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    _send(sink, {})
    while head := source.read(frames.HEAD):
        request: Request = frames.decode(source.read(frames.length(head)))
        signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
        healthy = _answer(sink, request, most)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not healthy:
            return


def _confine(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def _answer(sink: BinaryIO, request: Request, most: int) -> bool:
    """Answer each part; False if the memory ran out, after which a new process is better."""
    variables = request["variables"]
    for part in frames.PARTS:
        text = request["parts"].get(part)
        if text is None:
            continue
        try:
            if variables is None:
                engine.compiled(part, text)
                _send(sink, {})
            else:
                _send(sink, {"text": engine.fill(part, text, variables, most)})
        except engine.Broken as broken:
            _send(sink, {"broken": str(broken)})
        except MemoryError:
            _send(sink, {"broken": "needs too much memory", "ending": True})
            return False
    return True


def _send(sink: BinaryIO, answer: Answer) -> None:
    sink.write(frames.encode(answer))
    sink.flush()


if __name__ == "__main__":
    assert jinja2.debug  # loaded here: it is needed once a template fails, when no file can be opened any more
    main()
