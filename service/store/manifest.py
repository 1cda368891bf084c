"""MANIFEST.json: where reading begins. One sealed line, replaced in one step."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from service.store import disk, lines
from service.store.errors import StoreDamaged

NAME = "MANIFEST.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where reading begins.

    Attributes:
        id: The store's id.
        snapshot: The snapshot to read first; None when there is none.
        seq: The last line that the snapshot covers; 0 without a snapshot.
        journal: The segment that goes on with line `seq` + 1.
    """

    id: str
    snapshot: str | None
    seq: int
    journal: str


def read(directory: Path) -> Manifest | None:
    """The manifest of *directory*, or None when it has none.

    Raises:
        StoreDamaged: It is not readable.
    """
    path = directory / NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    document = lines.unseal(raw.removesuffix(b"\n"))
    if document is None:
        raise StoreDamaged(path, 1, "the manifest is damaged")
    return Manifest(document["id"], document["snapshot"], document["seq"], document["journal"])


def write(directory: Path, manifest: Manifest) -> None:
    """Make *manifest* the one that the next reader finds."""
    disk.replace(directory / NAME, lines.seal(dataclasses.asdict(manifest)))
