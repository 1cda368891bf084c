"""Fills templates, in a process of their own that is killed when one takes too long.

There is one such process, started when it is first needed. Who comes while a template is filled waits, at most as long
as one may take for each that came before.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.email.faults import Fault, InvalidRequest, pointer
from service.templating import frames
from service.templating.frames import Answer, Request

LIMIT = timedelta(seconds=2)
"""How long filling a template may take."""

MEMORY = 512 * 1024 * 1024
"""Octets of address space that the process may have."""

MOST = 1024 * 1024
"""Characters that each part may come to."""

_START = 30.0  # seconds that the process has to become ready
_MOST_OCTETS = 16 * MOST  # of one answer: JSON writes a character as at most 6 octets
_ROOT = Path(__file__).parents[2]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A template: Jinja for each part of an e-mail; None where it has none."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None

    @property
    def parts(self) -> dict[str, str]:
        """Those that there are, in the order they are filled."""
        every = {"subject": self.subject, "text": self.text, "html": self.html}
        return {name: text for name, text in every.items() if text is not None}


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template came to."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None


class CutShort(InvalidRequest):
    """A template was not filled to the end. Another time it may be: the machine may have been busy."""


class Renderer:
    """Owns the process; see the module."""

    def __init__(self, limit: timedelta = LIMIT, *, memory: int = MEMORY, most: int = MOST) -> None:
        """Make one; the process is started later.

        Args:
            limit: How long filling a template may take.
            memory: Octets of address space that the process may have.
            most: Characters that each part may come to.
        """
        self._limit = limit.total_seconds()
        self._command = [sys.executable, "-m", "service.templating.child", str(self._limit), str(memory), str(most)]
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process that there is now."""
        return None if self._process is None else self._process.pid

    async def check(self, source: Source) -> None:
        """See whether *source* is a template.

        Raises:
            InvalidRequest: It is not; each bad part is named, with the line.
            CutShort: That was not found out in time, or the process died.
        """
        await self._work(source, None)

    async def render(self, source: Source, variables: dict[str, Any]) -> Rendered:
        """Fill *source* with *variables*.

        Raises:
            InvalidRequest: It cannot be filled so; each bad part is named.
            CutShort: That takes too long, or the process died.
        """
        return Rendered(**await self._work(source, variables))

    async def close(self) -> None:
        """End the process."""
        async with self._lock:
            await self._kill()

    async def _work(self, source: Source, variables: dict[str, Any] | None) -> dict[str, str]:
        parts = source.parts
        message = frames.encode(Request(parts=parts, variables=variables))
        async with self._lock:
            answers = await self._exchange(message, list(parts))
        faults = [Fault(pointer(name), answer["broken"]) for name, answer in answers.items() if "broken" in answer]
        if faults:
            raise InvalidRequest(faults)
        return {name: answer.get("text", "") for name, answer in answers.items()}

    async def _exchange(self, message: bytes, parts: list[str]) -> dict[str, Answer]:
        """Let the process do its work; it is whole, or gone, afterwards."""
        fresh = self._process is None or self._process.returncode is not None
        process = await self._started()
        answers: dict[str, Answer] = {}
        whole = False
        try:
            async with asyncio.timeout(self._limit):
                await _ask(process, message)
                for part in parts:
                    answers[part] = await _hear(process)
                    if answers[part].get("ending"):
                        return answers
            whole = True
        except TimeoutError:
            part = parts[len(answers)]
            _log.warning("the %s of a template takes longer than %g s; its process is killed", part, self._limit)
            raise CutShort([Fault(pointer(part), f"takes longer than {self._limit:g} s")]) from None
        except (EOFError, OSError) as error:
            if not (fresh or answers):  # it may have died long ago, of something else
                await self._kill()
                return await self._exchange(message, parts)
            part = parts[len(answers)]
            _log.error("the process that fills templates died of the %s of one: %r", part, error)
            raise CutShort([Fault(pointer(part), "cannot be filled: the process that did so died")]) from error
        finally:
            if not whole:
                await self._kill()
        return answers

    async def _started(self) -> asyncio.subprocess.Process:
        """The process, ready.

        Raises:
            RuntimeError: It cannot be started.
        """
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._kill()
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(_ROOT)},  # and nothing of this process's, where passwords are
        )
        try:
            async with asyncio.timeout(_START):
                await _hear(self._process)
        except (EOFError, OSError, TimeoutError) as error:
            await self._kill()
            raise RuntimeError("the process that fills templates cannot be started") from error
        return self._process

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.communicate()  # which closes the pipes, too


async def _ask(process: asyncio.subprocess.Process, message: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(message)
    await process.stdin.drain()


async def _hear(process: asyncio.subprocess.Process) -> Answer:
    """The next frame; raises EOFError if there is none, or it is none."""
    assert process.stdout is not None
    size = frames.length(await process.stdout.readexactly(frames.HEAD))
    if size > _MOST_OCTETS:
        raise EOFError(f"a frame of {size:,} octets")
    answer: Answer = frames.decode(await process.stdout.readexactly(size))
    return answer
