"""Signatures made by the process that makes them, verified by another implementation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from service import worker
from service.email.record import Attachment, Email, Status
from service.mailer.builder import Builder
from service.mailer.dkim import Signer, SigningFailed
from service.settings import Settings, SettingsError
from tests import rfc6376
from tests.integration.dispatching import START, a_world, an_email

RSA = generate_private_key(65537, 2048)
ED = Ed25519PrivateKey.generate()
PUBLIC: list[rfc6376.PublicKey] = [RSA.public_key(), ED.public_key()]
PLAIN = NoEncryption()
FILE = b"\x00\xff" * 200_000
FILES = {"f" * 64: FILE}


def settings_with(folder: Path, *keys: bytes, domains: str = "example.com") -> Settings:
    """Settings with these keys, under the selectors s0, s1 ..."""
    paths = []
    for number, key in enumerate(keys):
        paths.append(folder / f"key{number}.pem")
        paths[-1].write_bytes(key)
    return Settings(
        data_dir=folder,
        dkim_domain=domains,
        dkim_selector=",".join(f"s{n}" for n in range(len(keys))),
        dkim_key_file=",".join(map(str, paths)),
    )


def pem(key: RSAPrivateKey | Ed25519PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """A private key as a file has it."""
    return key.private_bytes(Encoding.PEM, form, PLAIN)


@contextlib.contextmanager
def a_signer(folder: Path, *keys: bytes, domains: str = "example.com") -> Iterator[Signer]:
    """One with these keys."""
    signer = Signer.of(settings_with(folder, *keys, domains=domains))
    assert signer is not None
    with contextlib.closing(signer):
        yield signer


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    """One for example.com and xn--bcher-kva.example, with an RSA key and an Ed25519 key."""
    with a_signer(tmp_path, pem(RSA), pem(ED), domains="example.com, bücher.example") as signer:
        yield signer


async def signed(signer: Signer, email: Email, at: datetime = START) -> bytes:
    """The message of *email* as it is sent."""
    return (await Builder(FILES.__getitem__, signer).build(email, at)).data


FULL: dict[str, Any] = {
    "to": ("Jörg <jörg@bücher.example>", "Ann <ann@example.org>"),
    "cc": ("Bob <bob@example.org>",),
    "reply_to": ("help@example.com",),
    "subject": "Grüße 👋 " * 30,
    "headers": {"List-Unsubscribe": f"<https://example.com/{'u' * 300}>", "List-Unsubscribe-Post": "a=b", "X-A": "b"},
}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"text": ""},
        {"text": "\r\n\n trailing \t\n \n\n\n"},
        {"text": ".\n..\nFrom x\n" + "long " * 500},
        {"html": "<p>Hi</p>", **FULL},
        {"html": "<p>x</p>", "attachments": (Attachment("ü.bin", "a/b", len(FILE), "f" * 64),)},
        {"sender": "Büro <büro@sub.bücher.example>"},
    ],
    ids=["plain", "empty", "blanks", "dots", "full", "large", "international"],
)
async def test_every_message_verifies(signer: Signer, content: dict[str, Any]) -> None:
    """Both signatures verify, whatever is in the message, and they are dated with the message."""
    message = await signed(signer, an_email(**content))
    for index, key in enumerate(PUBLIC):
        tags = rfc6376.verify(message, index, key)
        domain = "xn--bcher-kva.example" if "sender" in content else "example.com"
        assert (tags["v"], tags["d"], tags["s"], tags["t"]) == ("1", domain, f"s{index}", f"{START.timestamp():.0f}")
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", message)


async def test_what_is_signed(signer: Signer) -> None:
    """Each field that readers and receivers go by is signed; those that a forger would add, as not there again."""
    message = await signed(signer, an_email(html="<p>x</p>", **FULL))
    names = rfc6376.signatures(message)[0]["h"].split(":")
    assert {name: names.count(name) for name in names} == {
        "from": 2,
        "to": 2,
        "cc": 2,
        "reply-to": 2,
        "subject": 2,
        "date": 2,
        "message-id": 2,
        "mime-version": 2,
        "content-type": 2,
        "list-unsubscribe": 1,
        "list-unsubscribe-post": 1,
    }


@pytest.mark.parametrize("added", [b"From: evil@example.net", b"Subject: other", b"Cc: x@example.net", b"To: y@e.net"])
async def test_an_added_field_breaks_it(signer: Signer, added: bytes) -> None:
    """A second From, Subject, To, or a Cc where there was none, is seen; so is a changed body."""
    message = await signed(signer, an_email())
    for forged in (added + b"\r\n" + message, message.replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n\r\n", 1)):
        with pytest.raises(InvalidSignature):
            rfc6376.verify(forged, 0, RSA.public_key())
    with pytest.raises(rfc6376.BadSignature):
        rfc6376.verify(message.replace(b"Hi\r\n", b"Ho\r\n"), 0, RSA.public_key())


async def test_the_same_bytes_each_time(tmp_path: Path, signer: Signer) -> None:
    """Another process signs another attempt the same: nothing in a signature is random or told by a clock."""
    email = an_email(html="<p>x</p>", **FULL)
    first = await signed(signer, email)
    with a_signer(tmp_path, pem(RSA), pem(ED)) as again:
        assert await signed(again, email) == first
        assert await signed(again, email, START + timedelta(seconds=1)) != first


async def test_other_domains_are_not_signed(signer: Signer) -> None:
    """A sender of another domain, though it ends alike, gets no signature."""
    for sender in ("a@example.org", "a@notexample.com", "a@com"):
        assert b"DKIM-Signature" not in await signed(signer, an_email(sender=sender))
    assert b" d=example.com;" in await signed(signer, an_email(sender="a@mail.EXAMPLE.com"))


async def test_a_process_that_dies_is_replaced(signer: Signer) -> None:
    """The next message is signed by another process."""
    message = await signed(signer, an_email(message_id="<1@example.com>"))
    (pid,) = signer.pids
    os.kill(pid, signal.SIGKILL)
    assert await signed(signer, an_email(message_id="<1@example.com>")) == message
    assert signer.pids != [pid]


async def test_what_cannot_be_signed_waits(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no process can be started nothing goes out unsigned: the caller is told to try again later."""
    (pid,) = signer.pids
    os.kill(pid, signal.SIGKILL)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(SigningFailed):
        await signed(signer, an_email())
    monkeypatch.undo()
    assert b"DKIM-Signature" in await signed(signer, an_email())


async def test_many_at_once(signer: Signer) -> None:
    """Messages signed at the same time each get their own signature."""
    emails = [an_email(message_id=f"<{n}@example.com>") for n in range(20)]
    builder = Builder(FILES.__getitem__, signer)
    for message in await asyncio.gather(*(builder.build(email, START) for email in emails)):
        rfc6376.verify(message.data, 0, RSA.public_key())


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
async def test_rsa_keys_come_in_two_forms(tmp_path: Path, form: PrivateFormat) -> None:
    """PKCS #1 and PKCS #8, as older and newer tools write them."""
    with a_signer(tmp_path, pem(RSA, form)) as signer:
        rfc6376.verify(await signed(signer, an_email()), 0, RSA.public_key())


WEAK = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIIBywIBAAJhAKfKVKIAjWJVBAjYisQLK4UMrf1w7vWMFKG6aE29++vgFaubDtTW
VyIVpp5rPggGPJwelUPxh2W3ttTCieJmERCsG1lhdDH7jIDvlsiVluNtfJPNhw3n
uXDTpdKrl5wPjwIDAQABAmEAp46v8Y+noPjRLJxCBwA4l4dQAPXUS7V1rQPfwTLl
7mk6esI/j1/0Z39DgpQJwC2onv4aT+sHu7qJO8MvFt9F9nJEzTsb+8+4YQ/7VRbv
Rcil73F2swVAplNY2aBQeaRhAjEA1iJvn5gPjWdpxzMf4LCkY3Jc854Y8ll2WIdf
HFJtG6j7FeYMpDxEbBxpWWDSrxUnAjEAyJhXP8TD6kxatA+IMkQiA0HB94SwAIIw
wPl+Wgn9UWr6TEiibUDD1tkdNVO198NZAjA2fKSyk1rBvGKqEVQ3NDtgIqWMR9pJ
MIJwnGGTL1YcB698LwFgeQVgDQqxd3Wkn1kCMHOuv2psLFwbqpd6+Z2bg04Dhzwa
jnHMoxc3CzIb3rYsjqqdnOaK2iY2UczmOOPpCQIxALrt2SyIQ6+JRomsLHCXulM8
u2LYpFFlc7reM4S6wCltHIr4tEVmWrHMqA7IFfbL6A==
-----END RSA PRIVATE KEY-----
"""
BAD = {
    "has no private key in PEM": b"hello",
    "neither RSA nor Ed25519": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "has 768 bits": WEAK,
    "is encrypted": RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    "cannot be read": b"\xff",
}


@pytest.mark.parametrize("why", BAD)
async def test_a_bad_key_stops_the_worker(tmp_path: Path, why: str) -> None:
    """It does not start; the message names the setting, the file and what is wrong, and shows nothing of the key."""
    settings = settings_with(tmp_path, pem(ED), BAD[why]).model_copy(
        update={"smtp_url": SecretStr("smtp://127.0.0.1:1")}
    )
    with pytest.raises(SettingsError) as caught:
        await worker.run(settings, asyncio.Event())
    assert re.fullmatch(f"SERVICE_DKIM_KEY_FILE={tmp_path}/key1.pem [^\n]*{why}[^\n]*", str(caught.value))


async def test_a_missing_key_stops_the_worker(tmp_path: Path) -> None:
    """So does a file that is not there."""
    settings = settings_with(tmp_path, pem(ED))
    (tmp_path / "key0.pem").unlink()
    with pytest.raises(SettingsError, match=r"SERVICE_DKIM_KEY_FILE=.*key0.pem cannot be read"):
        Signer.of(settings)


async def test_what_arrives_is_signed(tmp_path: Path, signer: Signer) -> None:
    """Through store, job and SMTP: dots at the start of lines and long lines included, the signature verifies."""
    async with a_world(tmp_path) as world:
        world.dispatch = world.a_dispatch(signer=signer)
        email = await world.accept(text=".\n..dots\n" + "long " * 400 + "\ntrailing \n")
        await world.handle(email)
        assert world.read(email).state.status is Status.COMPLETED
        (received,) = world.server.received
        rfc6376.verify(received.data, 0, RSA.public_key())
        rfc6376.verify(received.data, 1, ED.public_key())
