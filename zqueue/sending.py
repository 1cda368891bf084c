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
"""How long a refused call is repeated; well under the 60 s for which the server remembers an enqueue."""

_REFUSALS: Final = (
    "NOSCRIPT",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "BUSY ",
    "MOVED",
    "ASK ",
)
_LOST_DELAYS_S: Final = (0.0, 0.05, 0.2, 0.5)
_FIRST_DELAY_S: Final = 0.02
_LAST_DELAY_S: Final = 1.0


async def send(link: Link, calls: Sequence[Call[Any]]) -> list[Any]:
    """Run *calls* in one round trip and read their replies.

    Returns:
        For each call what it reads, or the `QueueUnavailable` that the server's error stands for.

    Raises:
        QueueUnavailable: The server could not be reached, or went on refusing; `LinkLost` says whether the calls may
            have run.
    """
    results: list[Any] = [None] * len(calls)
    left = list(range(len(calls)))
    deadline = time.monotonic() + PATIENCE_S
    delay = _FIRST_DELAY_S
    while True:
        refusal: Exception | None = None
        try:
            replies = await _send_repeatable(link, [calls[index] for index in left])
        except LinkLost as lost:
            if not lost.refused or time.monotonic() > deadline:
                raise
            refusal = lost
        else:
            left, refusal = _sort(calls, left, replies, results)
        if refusal is None:
            return results
        if isinstance(refusal, ServerError) and is_script_unknown(refusal):
            await link.send(*(("SCRIPT", "LOAD", script.text) for script in SCRIPTS.values()))
        elif time.monotonic() > deadline:
            raise QueueUnavailable(f"the server refused for {PATIENCE_S:g} s: {refusal}")
        else:
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_DELAY_S)


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
    return refused, refusal


async def _send_repeatable(link: Link, calls: Sequence[Call[Any]]) -> list[Any]:
    commands = [call.command for call in calls]
    for delay in _LOST_DELAYS_S:
        try:
            return await link.send(*commands)
        except LinkLost as lost:
            if not lost.sent or not all(call.repeatable for call in calls):
                raise
            await asyncio.sleep(delay)
    try:
        return await link.send(*commands)
    except LinkLost as lost:
        raise LinkLost(f"{lost}; it may have taken effect", sent=True) from lost


async def ask(link: Link, call: Call[R]) -> R:
    """Run one call, and raise what `send` would have put in its place."""
    (result,) = await send(link, [call])
    if isinstance(result, QueueUnavailable):
        raise result
    answer: R = result
    return answer
