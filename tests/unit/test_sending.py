"""What is sent again after a failure, and what never is, on a connection whose failures are scripted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.exceptions import ClusterDownError, MovedError, NoScriptError, ReadOnlyError, ResponseError

from zqueue import sending
from zqueue.commands import SCRIPTS, Call
from zqueue.connect import Link, LinkLost
from zqueue.errors import QueueUnavailable
from zqueue.sending import ask, send

NOSCRIPT = NoScriptError("No matching script.")
READONLY = ReadOnlyError("You can't write against a read only replica.")


class ScriptedLink:
    """A link whose every round trip is told beforehand: the replies, or the failure.

    Attributes:
        sent: The commands of each round trip, by their first word; the loading of scripts as ``load``.
    """

    def __init__(self, *outcomes: list[Any] | Exception) -> None:
        self._outcomes = list(outcomes)
        self.sent: list[str] = []

    async def send(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Answer as told."""
        self.sent.append("load" if commands[0][0] == "SCRIPT" else " ".join(str(each[0]) for each in commands))
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _lost(*, sent: bool, refused: bool = False) -> LinkLost:
    return LinkLost("redis://h is unavailable: broken", sent=sent, refused=refused)


def _call(name: str, *, repeatable: bool = True) -> Call[str]:
    return Call((name,), lambda reply: f"read {reply}", repeatable)


async def _send(link: ScriptedLink, *calls: Call[Any]) -> list[Any]:
    return await send(cast(Link, link), calls)


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses take no time; they are listed, and move the clock."""
    pauses: list[float] = []
    monkeypatch.setattr(sending, "time", SimpleNamespace(monotonic=lambda: sum(pauses)))

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(sending, "asyncio", SimpleNamespace(sleep=pause))
    return pauses


async def test_replies_are_read() -> None:
    """Each call reads its own reply; an error stands in the place of the one it belongs to."""
    link = ScriptedLink([b"1", ResponseError("WRONGTYPE"), b"3"])
    one, two, three = await _send(link, _call("A"), _call("B"), _call("C"))
    assert (one, three) == ("read b'1'", "read b'3'")
    assert isinstance(two, QueueUnavailable)
    assert str(two) == "the server answered an error: WRONGTYPE"


async def test_ask_raises_the_servers_error() -> None:
    """A single call raises what would have been in its place."""
    with pytest.raises(QueueUnavailable, match=r"^the server answered an error: WRONGTYPE$"):
        await ask(cast(Link, ScriptedLink([ResponseError("WRONGTYPE")])), _call("A"))


async def test_unknown_scripts_are_loaded_and_only_the_refused_sent_again(no_time: list[float]) -> None:
    """What ran is not sent again; there is no pause before the second try."""
    link = ScriptedLink([b"1", NOSCRIPT], [b"sha"] * len(SCRIPTS), [b"2"])
    assert await _send(link, _call("A", repeatable=False), _call("B", repeatable=False)) == ["read b'1'", "read b'2'"]
    assert link.sent == ["A B", "load", "B"]
    assert no_time == []


async def test_a_server_that_keeps_forgetting_is_not_asked_without_a_pause(no_time: list[float]) -> None:
    """Scripts that are unknown again right after they were loaded cost a pause each time."""
    loaded = [b"sha"] * len(SCRIPTS)
    link = ScriptedLink([NOSCRIPT], loaded, [NOSCRIPT], [NOSCRIPT], loaded, [b"1"])
    assert await _send(link, _call("A")) == ["read b'1'"]
    assert link.sent == ["A", "load", "A", "A", "load", "A"]
    assert no_time == [0.02]


async def test_a_server_that_takes_no_scripts() -> None:
    """Its refusal to load them is the answer."""
    link = ScriptedLink([NOSCRIPT], [ResponseError("NOPERM no")])
    with pytest.raises(QueueUnavailable, match=r"^the server does not take the scripts: NOPERM no$"):
        await _send(link, _call("A"))


@pytest.mark.parametrize(
    "refusal",
    [
        READONLY,
        ClusterDownError("the cluster is down"),
        MovedError("1 h:1"),
        ResponseError("BUSY Redis is busy running a script"),
        ResponseError("Error running script: @user_script: 33: -READONLY You can't write against a read only replica."),
        _lost(sent=False, refused=True),
    ],
)
async def test_a_refusal_is_waited_out(refusal: Exception, no_time: list[float]) -> None:
    """What the server has not executed is sent again, whatever it is, with pauses that grow to a second."""
    outcomes: list[Any] = [refusal if isinstance(refusal, LinkLost) else [refusal]] * 10
    link = ScriptedLink(*outcomes, [b"1"])
    assert await _send(link, _call("A", repeatable=False)) == ["read b'1'"]
    assert no_time == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1, 1]


async def test_patience_ends_after_30_seconds(no_time: list[float]) -> None:
    """A server that goes on refusing is given up; what it did execute keeps its answer."""
    link = ScriptedLink([b"1", READONLY], *([[READONLY]] * 100))
    done, refused = await _send(link, _call("A"), _call("B"))
    assert done == "read b'1'"
    assert str(refused) == "the server refused for 30 s: You can't write against a read only replica."
    assert 30 < sum(no_time) < 32


async def test_patience_with_a_loading_server_ends_too(no_time: list[float]) -> None:
    """A server that never finishes loading is lost at last, and nothing was executed."""
    link = ScriptedLink(*([_lost(sent=False, refused=True)] * 100))
    with pytest.raises(LinkLost, match="the call had no effect") as caught:
        await _send(link, _call("A"))
    assert not caught.value.sent
    assert 30 < sum(no_time) < 32


async def test_nobody_there_is_told_at_once(no_time: list[float]) -> None:
    """A server that cannot be reached is the caller's affair: one attempt, no pause."""
    link = ScriptedLink(_lost(sent=False))
    with pytest.raises(LinkLost, match="redis://h is unavailable: broken; the call had no effect"):
        await _send(link, _call("A"))
    assert (link.sent, no_time) == (["A"], [])


async def test_a_lost_reply_of_a_repeatable_call(no_time: list[float]) -> None:
    """It is sent again as it was."""
    link = ScriptedLink(_lost(sent=True), _lost(sent=True), [b"1"])
    assert await _send(link, _call("A")) == ["read b'1'"]
    assert link.sent == ["A", "A", "A"]
    assert no_time == [0, 0.05]


async def test_a_lost_reply_of_any_other_call_is_never_sent_again() -> None:
    """One call of a round trip that must not run twice keeps the rest from being sent again."""
    link = ScriptedLink(_lost(sent=True))
    with pytest.raises(LinkLost, match="the call may have taken effect") as caught:
        await _send(link, _call("A"), _call("B", repeatable=False))
    assert caught.value.sent
    assert link.sent == ["A B"]


async def test_a_reply_that_is_lost_again_and_again(no_time: list[float]) -> None:
    """Five attempts, then the caller hears that it may have taken effect."""
    link = ScriptedLink(*([_lost(sent=True)] * 5))
    with pytest.raises(LinkLost, match=r"^redis://h is unavailable: broken; the call may have taken effect$"):
        await _send(link, _call("A"))
    assert no_time == [0, 0.05, 0.2, 0.5]


@pytest.mark.parametrize("last", [_lost(sent=False), _lost(sent=False, refused=True)])
async def test_what_may_have_run_is_not_forgotten(last: LinkLost) -> None:
    """Lost after it was sent, then nobody to connect to: the first attempt may have run, and the error says so."""
    link = ScriptedLink(_lost(sent=True), *([last] * 100))
    with pytest.raises(LinkLost, match="the call may have taken effect") as caught:
        await _send(link, _call("A"))
    assert caught.value.sent


async def test_what_ran_is_not_forgotten_either() -> None:
    """One of two calls was executed, the other refused, then the connection broke: some of it took effect."""
    link = ScriptedLink([b"1", READONLY], _lost(sent=False))
    with pytest.raises(LinkLost) as caught:
        await _send(link, _call("A"), _call("B"))
    assert caught.value.sent


async def test_nothing_is_sent_again_after_its_time(no_time: list[float]) -> None:
    """A lost reply beyond the patience is not repeated: the server may have forgotten the first call."""
    link = ScriptedLink(*([_lost(sent=False, refused=True)] * 35), _lost(sent=True), [b"1"])
    with pytest.raises(LinkLost):
        await _send(link, _call("A"))
    assert len(link.sent) == 36
    assert sum(no_time) > 30


async def test_a_cancellation_is_passed_on() -> None:
    """Cancelling the caller ends it, not only the present attempt."""

    class Hanging(ScriptedLink):
        async def send(self, *commands: tuple[Any, ...]) -> list[Any]:
            never: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            return await never

    task = asyncio.create_task(_send(Hanging(), _call("A")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
