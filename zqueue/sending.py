"""What is sent again after a failure, and what never is.

Three cases. *Refused*: the server answered that it executed nothing (it lost the script, loads its data, became a
replica): sent again with backoff, for `PATIENCE_S`. *Lost*: the connection broke after the commands were written:
sent again only if every one of them is `Call.repeatable`. *Unreachable*: raised at once; the caller decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from zqueue.commands import SCRIPTS, Call
from zqueue.connect import Link, LinkLost, ServerError, is_refusal, is_script_unknown
from zqueue.errors import QueueUnavailable

R = TypeVar("R")

PATIENCE_S: Final = 30.0
"""How long a call is sent again; well under the 60 s for which the server remembers an enqueue."""

_LOST_DELAYS_S: Final = (0.0, 0.05, 0.2, 0.5)
_FIRST_DELAY_S: Final = 0.02
_LAST_DELAY_S: Final = 1.0


async def send(link: Link, calls: Sequence[Call[Any]], *, patience: float | None = None) -> list[Any]:
    """Run *calls* in one round trip and read their replies.

    Args:
        patience: Seconds for which to send them again; None for `PATIENCE_S`.

    Returns:
        For each call what it reads, or a `QueueUnavailable`: the server answered an error, or went on refusing.

    Raises:
        QueueUnavailable: The server could not be reached; `LinkLost` says whether any of the calls may have run.
    """
    results: list[Any] = [None] * len(calls)
    left = list(range(len(calls)))
    patience = PATIENCE_S if patience is None else patience
    deadline = time.monotonic() + patience
    delay = _FIRST_DELAY_S
    may_have_run = False
    unknown = False
    while True:
        try:
            if unknown:
                await _load(link)
            replies = await _send_repeatable(link, [calls[index] for index in left], deadline)
        except LinkLost as lost:
            may_have_run = may_have_run or lost.sent or len(left) < len(calls)
            if not lost.refused or time.monotonic() > deadline:
                raise LinkLost(lost.trouble, sent=may_have_run) from lost
        else:
            left, refusal = _sort(calls, left, replies, results)
            if refusal is None:
                return results
            if not unknown and is_script_unknown(refusal):
                unknown = True
                continue
            if time.monotonic() > deadline:
                for index in left:
                    results[index] = QueueUnavailable(f"the server refused for {patience:g} s: {refusal}")
                return results
        unknown = False
        await asyncio.sleep(delay)
        delay = min(2 * delay, _LAST_DELAY_S)


async def _load(link: Link) -> None:
    for reply in await link.send(*(("SCRIPT", "LOAD", script.text) for script in SCRIPTS.values())):
        if isinstance(reply, ServerError) and not is_refusal(reply):
            raise QueueUnavailable(f"the server does not take the scripts: {reply}")


def _sort(
    calls: Sequence[Call[Any]], sent: list[int], replies: list[Any], results: list[Any]
) -> tuple[list[int], ServerError | None]:
    """Put what was executed into *results*; give the indices that were refused, and one of the refusals."""
    refused: list[int] = []
    refusal: ServerError | None = None
    for index, reply in zip(sent, replies, strict=True):
        if not isinstance(reply, ServerError):
            results[index] = calls[index].read(reply)
        elif is_refusal(reply):
            refused.append(index)
            refusal = reply
        else:
            results[index] = QueueUnavailable(f"the server answered an error: {reply}")
    if refused:
        refused = [index for index in sent if index in refused or calls[index].trailing]
    return refused, refusal


async def _send_repeatable(link: Link, calls: Sequence[Call[Any]], deadline: float) -> list[Any]:
    commands = [call.command for call in calls]
    repeatable = all(call.repeatable for call in calls)
    delays = iter(_LOST_DELAYS_S)
    may_have_run = False
    while True:
        try:
            return await link.send(*commands)
        except LinkLost as lost:
            may_have_run = may_have_run or lost.sent
            delay = next(delays, None)
            if not (lost.sent and repeatable) or delay is None or time.monotonic() > deadline:
                raise LinkLost(lost.trouble, sent=may_have_run, refused=lost.refused) from lost
        await asyncio.sleep(delay)


async def results(link: Link, calls: Sequence[Call[Any]]) -> list[Any]:
    """Run calls that belong together, and raise what `send` would have put in the place of any."""
    answers = await send(link, calls)
    for answer in answers:
        if isinstance(answer, QueueUnavailable):
            raise answer
    return answers


async def ask(link: Link, call: Call[R]) -> R:
    """Run one call, and raise what `send` would have put in its place."""
    (answer,) = await results(link, [call])
    read: R = answer
    return read
