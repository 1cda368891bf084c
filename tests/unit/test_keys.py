"""The names of keys."""

from __future__ import annotations

import pytest

from zqueue.errors import InvalidJob
from zqueue.keys import ORDER, Keys


def test_every_key_carries_the_queues_hash_tag() -> None:
    """A Cluster keeps all keys of a queue on one node, because all of them carry the same tag."""
    keys = Keys("mail")
    assert {key.split(b":")[1] for key in (*keys.all, keys.meta, keys.format, keys.call("p"))} == {b"{mail}"}


def test_each_shard_has_a_hash_tag_of_its_own() -> None:
    """So that a Cluster may spread them; what must be known before a shard is, the format, is the queue's."""
    keys = Keys("mail", 3)
    assert {key.split(b":{")[1].split(b"}")[0] for key in (*keys.all, keys.meta, keys.call("p"))} == {b"mail:3"}
    assert keys.wake == b"zq:{mail:3}:wake"
    assert keys.format == Keys("mail").format == b"zq:{mail}:meta"


def test_the_names_are_those_the_architecture_lists() -> None:
    """The list of keys, in the order in which every script gets them."""
    assert Keys("a.b-C_1").all == tuple(
        f"zq:{{a.b-C_1}}:{name}".encode()
        for name in (
            *("due:0", "due:1", "due:2", "leased", "jobs", "claims", "attempts", "dead", "wake", "workers"),
            *("done", "results", "progress", "recurring", "fires", "paused", "ended"),
            *("parked", "gates", "tat", "running", "limits", "groups"),
        )
    )
    assert Keys("q").wake == b"zq:{q}:wake"
    assert Keys("q").meta == b"zq:{q}:meta"
    assert Keys("q").call("0af3.2") == b"zq:{q}:call:0af3.2"
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("name", ["a", "A" * 64, "mail-2.high_prio", "0"])
def test_a_good_name(name: str) -> None:
    """Letters, digits, underscore, dot and hyphen, up to 64 of them."""
    assert Keys(name).prefix == f"zq:{{{name}}}:"


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a:b", "a{b}", "mail\n", "größe", "a\0", "٣", None, 5, b"mail"])
def test_a_bad_name_is_named(name: object) -> None:
    """Anything else is refused and shown: a brace or a colon would change which keys are meant."""
    with pytest.raises(InvalidJob) as caught:
        Keys(name)  # type: ignore[arg-type]
    assert str(caught.value) == f"a queue name is 1 to 64 of A-Z a-z 0-9 _ . -, not {name!r}"
