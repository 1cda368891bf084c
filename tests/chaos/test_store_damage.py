"""A last write that is cut at any byte, and a byte that is flipped anywhere before it, in a store of some size."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import store_damage


async def test_a_cut_write_costs_nothing_else(tmp_path: Path) -> None:
    """It opens, has all from before, and keeps what it cut."""
    await store_damage.fill(tmp_path, 50)
    assert store_damage.cut_everywhere(tmp_path, 7) == []


async def test_a_flipped_byte_costs_one_record(tmp_path: Path) -> None:
    """It refuses and names the line; the repair keeps every other record."""
    await store_damage.fill(tmp_path, 50)
    assert store_damage.flip_anywhere(tmp_path, 40) == []
