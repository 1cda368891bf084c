"""E-mails with files on their way from the store to the relay."""

from __future__ import annotations

import email
import email.policy
import os
from pathlib import Path

import pytest

from service.email.record import Attachment, Status
from service.mailer.dkim import Signer, SigningFailed
from tests.integration.dispatching import World, a_world
from tests.smtpd import Action

PDF = os.urandom(100_000)


def attach(world: World, data: bytes = PDF) -> tuple[Attachment, ...]:
    """A file whose bytes the store has."""
    return (Attachment("a.pdf", "application/pdf", len(data), world.store.put_blob(data)),)


def blob_of(folder: Path, file: Attachment) -> Path:
    """Where the store keeps the bytes."""
    return folder / "blobs" / file.sha256[:2] / file.sha256


async def test_a_file_is_sent_the_same_each_time(tmp_path: Path) -> None:
    """Two attempts send the same bytes, with the file in them."""
    async with a_world(tmp_path, {"dot": [Action(451, "later", store=True)]}) as world:
        accepted = await world.accept(attachments=attach(world))
        assert [status for status, _ in await world.live(accepted)] == [Status.RETRYING, Status.COMPLETED]
        first, second = world.server.received
        assert first.data == second.data
        (file,) = email.message_from_bytes(first.data, policy=email.policy.SMTP).iter_attachments()
        assert (file.get_filename(), file.get_content()) == ("a.pdf", PDF)


@pytest.mark.parametrize(("damage", "why"), [("lost", ""), ("other", "the file is not what was written")])
async def test_a_lost_file_fails_its_email(tmp_path: Path, damage: str, why: str) -> None:
    """It is not sent without its file, nor with another one; the record says why, and other e-mails go on."""
    async with a_world(tmp_path) as world:
        (file,) = attach(world)
        accepted = await world.accept(attachments=(file,))
        path = blob_of(tmp_path, file)
        path.unlink() if damage == "lost" else path.write_bytes(b"x" * len(PDF))
        assert await world.live(accepted) == [(Status.FAILED, None)]
        last_error = world.read(accepted).state.last_error or ""
        assert last_error.startswith("554 5.3.0 a file of the message is lost: ")
        assert why in last_error
        assert world.server.received == []
        assert await world.live(await world.accept()) == [(Status.COMPLETED, None)]


async def test_what_cannot_be_signed_is_not_sent(tmp_path: Path) -> None:
    """It waits without an attempt being spent, and goes out once it can be signed."""

    class Broken(Signer):
        def sign(self, *_: object) -> bytes:
            raise SigningFailed("no process")

    async with a_world(tmp_path) as world:
        accepted = await world.accept()
        world.dispatch = world.a_dispatch(signer=Broken((), ()))
        assert await world.handle(accepted) == 0.02
        state = world.read(accepted).state
        assert (state.status, state.run, state.attempts) == (Status.SCHEDULED, 0, 0)
        world.dispatch = world.a_dispatch()
        assert await world.live(accepted) == [(Status.COMPLETED, None)]
        assert len(world.server.received) == 1
