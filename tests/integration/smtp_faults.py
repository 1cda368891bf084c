"""Each step of a conversation with a relay, each fault there, and what must come of it: for the e-mail, for the relay.

The table of `docs/smtp-faults.md` is made from this one. A fault happens once; after it the server behaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.integration.dispatching import ANN, BOB
from tests.smtpd import DROP, FREEZE, GARBAGE, STORE_AND_DROP, STORE_AND_FREEZE, Action, reply


class Becomes(Enum):
    """What becomes of an e-mail to two people: in words, its events, the attempts it spent, the copies each got.

    With `on_unknown=hold` the story is another one where `held` says so.
    """

    FLOWS = "sent, as if nothing had been", ["sending", "completed"], 1
    WAITS = "waits for the relay, or takes the next one; then sent", ["sending", "completed"], 1
    DEFERRED = "deferred, without spending an attempt; then sent", ["sending", "deferred", "sending", "completed"], 1
    RETRIED = "an attempt spent; sent by the next", ["sending", "retrying", "sending", "completed"], 2
    FAILED = "failed at once, with the relay's words", ["sending", "failed"], 1
    PARTLY = "sent to the others; the refused get nothing, now or later", ["sending", "completed"], 1
    REST_RETRIED = (
        "sent to the others; an attempt spent, the next is for the rest alone",
        [
            *("sending", "retrying", "sending", "completed"),
        ],
        2,
    )
    UNKNOWN = (
        "unknown: an attempt spent and sent again (`retry`), or held for a person (`hold`)",
        [
            *("sending", "retrying", "sending", "completed"),
        ],
        2,
    )

    @property
    def words(self) -> str:
        """For people."""
        return self.value[0]

    @property
    def events(self) -> list[str]:
        """Its history after it was accepted."""
        return self.value[1]

    @property
    def attempts(self) -> int:
        """Those counted when it is over."""
        return self.value[2]


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        step: The command, or the moment.
        name: What the server does there.
        script: How; each action once.
        becomes: See `Becomes`.
        relay: The state that the relay gets into; ``ok`` where it stays.
        stored: Whether the server keeps the message of the faulty transaction.
        query: Of the relay's URL.
        user: Of the relay's URL.
        offers_tls: Whether the server can encrypt.
        long: Whether the message is larger than all buffers on the way.
        reused: Whether the fault meets a connection that carried a message before.
        listens: Whether there is a server from the beginning.
    """

    step: str
    name: str
    script: dict[str, Action]
    becomes: Becomes
    relay: str = "ok"
    stored: bool = False
    query: str = "tls=none"
    user: str = ""
    offers_tls: bool = False
    long: bool = False
    reused: bool = False
    listens: bool = True

    def __str__(self) -> str:
        return f"{self.step}: {self.name}"


BYE = reply(421, "4.3.2 bye")
LATER = reply(451, "4.3.0 later")
NEVER = reply(550, "5.1.1 no")
SLOW = Action(delay=0.05)

WAITS, FLOWS, DEFERRED, UNKNOWN = Becomes.WAITS, Becomes.FLOWS, Becomes.DEFERRED, Becomes.UNKNOWN


def dripping(code: int, seconds: float) -> Action:
    """A good reply, byte by byte."""
    return Action(code, "2.0.0 ok, but slowly", drip=seconds)


def _encrypted(step: str, name: str, script: dict[str, Action], becomes: Becomes, relay: str) -> Fault:
    return Fault(step, name, script, becomes, relay, query="tls=starttls", offers_tls=True)


FAULTS = [
    Fault("connect", "nobody listens", {}, WAITS, "unreachable", listens=False),
    Fault("connect", "hangs up before the greeting", {"connect": DROP}, WAITS, "unreachable"),
    Fault("greeting", "slow", {"greeting": Action(220, "test", delay=0.05)}, FLOWS),
    Fault("greeting", "byte by byte", {"greeting": dripping(220, 0.003)}, FLOWS),
    Fault("greeting", "byte by byte, without end", {"greeting": dripping(220, 0.2)}, WAITS, "unreachable"),
    Fault("greeting", "silence", {"greeting": FREEZE}, WAITS, "unreachable"),
    Fault("greeting", "421", {"greeting": BYE}, WAITS, "busy"),
    Fault("greeting", "554", {"greeting": reply(554, "5.7.1 no")}, WAITS, "refusing"),
    Fault("greeting", "garbage", {"greeting": GARBAGE}, WAITS, "refusing"),
    Fault("EHLO", "slow", {"ehlo": Action(250, "test", delay=0.05)}, FLOWS),
    Fault("EHLO", "unknown command: HELO is", {"ehlo": reply(502, "5.5.1 what")}, FLOWS),
    Fault("EHLO", "silence", {"ehlo": FREEZE}, WAITS, "refusing"),
    Fault("EHLO", "hangs up", {"ehlo": DROP}, WAITS, "refusing"),
    Fault("EHLO", "421", {"ehlo": BYE}, WAITS, "busy"),
    Fault("EHLO", "550, to HELO too", {"ehlo": NEVER, "helo": NEVER}, WAITS, "refusing"),
    Fault("EHLO", "garbage", {"ehlo": GARBAGE, "helo": GARBAGE}, WAITS, "refusing"),
    _encrypted("STARTTLS", "not offered", {"ehlo": Action(250, "test")}, WAITS, "tls"),
    _encrypted("STARTTLS", "454", {"starttls": reply(454, "4.7.0 not now")}, WAITS, "tls"),
    _encrypted("STARTTLS", "hangs up", {"starttls": DROP}, WAITS, "tls"),
    _encrypted("STARTTLS", "silence", {"starttls": FREEZE}, WAITS, "tls"),
    _encrypted("STARTTLS", "421", {"starttls": BYE}, WAITS, "busy"),
    Fault("AUTH", "not offered", {"ehlo": Action(250, "test")}, WAITS, "login", user="me:x@"),
    Fault("AUTH", "535", {"auth": reply(535, "5.7.8 no")}, WAITS, "login", user="me:x@"),
    Fault("AUTH", "hangs up", {"auth": DROP}, WAITS, "login", user="me:x@"),
    Fault("AUTH", "421", {"auth": BYE}, WAITS, "busy", user="me:x@"),
    Fault("AUTH", "garbage", {"auth": GARBAGE}, WAITS, "login", user="me:x@"),
    Fault("MAIL", "slow", {"mail": Action(250, "ok", delay=0.05)}, FLOWS),
    Fault("MAIL", "byte by byte", {"mail": dripping(250, 0.003)}, FLOWS),
    Fault("MAIL", "byte by byte, without end", {"mail": dripping(250, 0.2)}, DEFERRED),
    Fault("MAIL", "silence", {"mail": FREEZE}, DEFERRED),
    Fault("MAIL", "hangs up", {"mail": DROP}, DEFERRED),
    Fault("MAIL", "garbage", {"mail": GARBAGE}, DEFERRED),
    Fault("MAIL", "421", {"mail": BYE}, DEFERRED, "busy"),
    Fault("MAIL", "530, it wants a login", {"mail": reply(530, "5.7.0 log in")}, DEFERRED, "login"),
    Fault("MAIL", "451", {"mail": LATER}, Becomes.RETRIED),
    Fault("MAIL", "550", {"mail": NEVER}, Becomes.FAILED),
    Fault("RCPT", "slow", {"rcpt": Action(250, "ok", delay=0.05)}, FLOWS),
    Fault("RCPT", "silence at the second", {f"rcpt:{BOB}": FREEZE}, DEFERRED),
    Fault("RCPT", "hangs up at the second", {f"rcpt:{BOB}": DROP}, DEFERRED),
    Fault("RCPT", "garbage", {"rcpt": GARBAGE}, DEFERRED),
    Fault("RCPT", "421 at the second", {f"rcpt:{BOB}": BYE}, DEFERRED, "busy"),
    Fault("RCPT", "550 for half of them", {f"rcpt:{ANN}": NEVER}, Becomes.PARTLY),
    Fault("RCPT", "550 for all", {f"rcpt:{ANN}": NEVER, f"rcpt:{BOB}": NEVER}, Becomes.FAILED),
    Fault("RCPT", "451 for half of them", {f"rcpt:{ANN}": LATER}, Becomes.REST_RETRIED),
    Fault("RCPT", "451 for all", {f"rcpt:{ANN}": LATER, f"rcpt:{BOB}": LATER}, Becomes.RETRIED),
    Fault("RCPT", "552 for half of them", {f"rcpt:{ANN}": reply(552, "too many")}, Becomes.REST_RETRIED),
    Fault("DATA", "slow", {"data": Action(354, "go", delay=0.05)}, FLOWS),
    Fault("DATA", "silence", {"data": FREEZE}, DEFERRED),
    Fault("DATA", "hangs up", {"data": DROP}, DEFERRED),
    Fault("DATA", "hangs up after its 354", {"data": reply(354, "go", then="drop")}, DEFERRED),
    Fault("DATA", "garbage", {"data": GARBAGE}, DEFERRED),
    Fault("DATA", "421", {"data": BYE}, DEFERRED, "busy"),
    Fault("DATA", "451", {"data": LATER}, Becomes.RETRIED),
    Fault("DATA", "554", {"data": reply(554, "5.6.0 no")}, Becomes.FAILED),
    Fault("the message", "hangs up before the dot", {"body": DROP}, DEFERRED, long=True),
    Fault("the message", "reads no further", {"body": FREEZE}, DEFERRED, long=True),
    Fault("the message", "421", {"body": BYE}, DEFERRED, "busy", long=True),
    Fault("the message", "552", {"body": reply(552, "5.3.4 too big", then="freeze")}, Becomes.FAILED, long=True),
    Fault("after the dot", "slow", {"dot": Action(250, "ok", delay=0.05)}, FLOWS, stored=True),
    Fault("after the dot", "byte by byte", {"dot": dripping(250, 0.003)}, FLOWS, stored=True),
    Fault("after the dot", "byte by byte, without end", {"dot": dripping(250, 0.2)}, UNKNOWN, stored=True),
    Fault("after the dot", "hangs up, has it not", {"dot": DROP}, UNKNOWN),
    Fault("after the dot", "hangs up, has it", {"dot": STORE_AND_DROP}, UNKNOWN, stored=True),
    Fault("after the dot", "silence, has it not", {"dot": FREEZE}, UNKNOWN),
    Fault("after the dot", "silence, has it", {"dot": STORE_AND_FREEZE}, UNKNOWN, stored=True),
    Fault("after the dot", "garbage, has it", {"dot": Action(raw=GARBAGE.raw, store=True)}, UNKNOWN, stored=True),
    Fault("after the dot", "421", {"dot": BYE}, DEFERRED, "busy"),
    Fault("after the dot", "451", {"dot": LATER}, Becomes.RETRIED),
    Fault("after the dot", "554", {"dot": reply(554, "5.7.1 spam")}, Becomes.FAILED),
    Fault("reuse (RSET)", "has hung up meanwhile", {"rset": DROP}, FLOWS, reused=True),
    Fault("reuse (RSET)", "silence", {"rset": FREEZE}, FLOWS, reused=True),
    Fault("reuse (RSET)", "421", {"rset": BYE}, FLOWS, reused=True),
    Fault("reuse (RSET)", "500", {"rset": reply(500, "what")}, FLOWS, reused=True),
    Fault("reuse (RSET)", "garbage", {"rset": GARBAGE}, FLOWS, reused=True),
    Fault("reuse (MAIL)", "hangs up", {"mail": DROP}, DEFERRED, reused=True),
]


def table() -> str:
    """For the documentation."""
    lines = ["| step | the relay | the e-mail | the relay's state |", "|---|---|---|---|"]
    lines += [f"| {one.step} | {one.name} | {one.becomes.words} | {one.relay} |" for one in FAULTS]
    return "\n".join(lines) + "\n"
