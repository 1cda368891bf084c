"""API keys as documents of the store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from service.access import keys
from service.access.keys import ApiKey, UnknownKey
from service.access.scopes import Scope
from service.email.times import to_z
from tests.unit.store_emails import NOW, opened

SEND = frozenset({Scope.SEND})


async def test_a_key_is_found_by_its_token_alone(tmp_path: Path) -> None:
    """The token that was shown, and no other, leads to the key; also after the store was opened again."""
    async with opened(tmp_path) as store:
        assert not keys.exist(store)
        key, token = await keys.create(store, name="shop", scopes=SEND, expires_at=None, by="me")
        _, other = await keys.create(store, name="", scopes=SEND, expires_at=None, by="me")
    async with opened(tmp_path) as store:
        assert keys.exist(store)
        assert keys.find(store, token) == key
        secret = token.removeprefix(f"zq_{key.id}_")
        wrong = [
            token[:-1],
            token + "x",
            token.upper(),
            f"zq_{key.id}_",
            f"zq_{key.id}",
            f"zq_{secret}",
            f"qz_{key.id}_{secret}",
            other.replace(other.split("_")[1], key.id),
            "",
            "_",
            "zq__",
            "x" * 100_000,
            "zq_\udc80_x",
        ]
        assert [keys.find(store, text) for text in wrong] == [None] * len(wrong)


async def test_the_secret_is_nowhere_on_disk(tmp_path: Path) -> None:
    """What the store keeps cannot be used as a key."""
    async with opened(tmp_path) as store:
        key, token = await keys.create(store, name="shop", scopes=SEND, expires_at=None, by="me")
        assert token.startswith(f"zq_{key.id}_")
    written = (tmp_path / "journal-0-0000.jsonl").read_bytes()
    assert key.id.encode() in written
    assert token.split("_", 2)[2].encode() not in written


async def test_a_key_ends_for_every_process_at_once(tmp_path: Path) -> None:
    """A revoked key is known as revoked by whoever has the store open, and stays so; revoking again changes nothing."""
    async with opened(tmp_path) as store, opened(tmp_path) as elsewhere:
        key, token = await keys.create(store, name="shop", scopes=SEND, expires_at=None, by="me")
        found = keys.find(elsewhere, token)
        assert found is not None
        assert found.ended(NOW) is None
        ended = await keys.revoke(store, key.id, by="me")
        assert keys.find(elsewhere, token) == ended
        assert ended.ended(NOW) == "was revoked"
        assert await keys.revoke(elsewhere, key.id, by="you") == ended
        assert keys.exist(elsewhere), "without it, revoking the last one would open the API to everybody"


async def test_a_key_that_does_not_exist_cannot_be_revoked(tmp_path: Path) -> None:
    """It is said, instead of nothing being done."""
    async with opened(tmp_path) as store:
        with pytest.raises(UnknownKey, match="there is no key 'nokey'"):
            await keys.revoke(store, "nokey", by="me")


def test_a_key_expires_at_its_moment() -> None:
    """Good until then, and not a moment longer."""
    key = ApiKey("k", "", SEND, "", NOW, expires_at=NOW)
    assert key.ended(NOW - timedelta(microseconds=1)) is None
    assert key.ended(NOW) == "has expired"


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ({Scope.SEND}, {Scope.PUBLIC, Scope.SEND}),
        ({Scope.READ}, {Scope.PUBLIC, Scope.READ}),
        ({Scope.SEND, Scope.READ}, {Scope.PUBLIC, Scope.SEND, Scope.READ}),
        ({Scope.ADMIN}, set(Scope)),
    ],
)
def test_what_a_scope_allows(scopes: set[Scope], allowed: set[Scope]) -> None:
    """Sending is not reading, and admin is everything."""
    key = ApiKey("k", "", frozenset(scopes), "", NOW)
    assert {scope for scope in Scope if key.allows(scope)} == allowed


async def test_making_and_ending_a_key_is_written_down(tmp_path: Path) -> None:
    """Who did it, and to which key; never the hash of its token."""
    async with opened(tmp_path) as store:
        key, _ = await keys.create(store, name="shop", scopes=SEND, expires_at=NOW, by="me")
        await keys.revoke(store, key.id, by="you")
        found = [(one.type, one.subject, one.data) for one in store.read_events(0, 100).events]
    subject = f"key:{key.id}"
    assert found == [
        (
            "audit.key_created",
            subject,
            {"name": "shop", "scopes": ["send"], "expires_at": to_z(NOW), "by": "me"},
        ),
        ("key.created", subject, {}),
        ("audit.key_revoked", subject, {"name": "shop", "by": "you"}),
        ("key.revoked", subject, {}),
    ]
