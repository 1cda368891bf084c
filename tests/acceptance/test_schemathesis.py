"""The API held to its own document by a program that did not write it. `schemathesis_run` does the same for longer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.running import Service
from tests.acceptance.schemathesis_run import check, make_key


@pytest.mark.slow
def test_the_api_keeps_to_its_document(tmp_path: Path) -> None:
    """No 5xx, no undocumented status or field, nothing accepted that is forbidden: every check, on every operation."""
    token = make_key(tmp_path / "data")
    with Service(tmp_path) as service:
        ended = check(service.url, token, "--max-examples", "3")
        assert ended.returncode == 0, ended.stdout
        generated = re.search(r"([0-9]+) generated", ended.stdout)
        assert generated is not None
        assert int(generated[1]) > 1_000
        assert "Traceback" not in service.logged
