"""The API held to its own OpenAPI document by schemathesis.

``python -m tests.acceptance.schemathesis_run --examples N`` starts everything (`up`), makes an API key, and sends what
the document allows and what it forbids: the examples, the edges of each schema, *N* random requests for each operation,
and sequences of them. Every check of schemathesis is on; its report is printed, and its exit status returned.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from service.access import keys
from service.access.scopes import Scope
from service.store.store import Store
from tests.acceptance.running import Service

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")


def make_key(data_dir: Path) -> str:
    """A key that may do everything, in the store that *data_dir* has or is to have; its token."""

    async def make() -> str:
        store = await Store.open(data_dir, now=lambda: datetime.now(UTC))
        try:
            _, token = await keys.create(
                store, name="schemathesis", scopes=frozenset({Scope.ADMIN}), expires_at=None, by="a test"
            )
        finally:
            await store.close()
        return token

    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return asyncio.run(make())


def check(url: str, token: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis against the API at *url*; what came of it, and all that it printed."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(CONFIG),
            "run",
            f"{url}/openapi.json",
            *options,
        ],
        env=os.environ | {"ZQUEUE_TEST_KEY": token, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def statuses(logged: str) -> dict[int, int]:
    """How often the service answered with each status, by its log in JSON."""
    lines = (json.loads(line) for line in logged.split("\n") if line.startswith("{"))
    return dict(sorted(Counter(line["status"] for line in lines if line.get("event") == "request").items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it as a program; the exit status of schemathesis."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.schemathesis_run", description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="random requests for each operation")
    parser.add_argument("options", nargs="*", help="more options of `schemathesis run`, after --")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        token = make_key(Path(folder) / "data")
        with Service(Path(folder), {"LOG_FORMAT": "json"}) as service:
            ended = check(
                service.url, token, "--max-examples", str(options.examples), "--continue-on-failure", *options.options
            )
            print(ended.stdout)
            faults = service.logged.count("Traceback")
            print(f"answers by status: {statuses(service.logged)}; {faults} tracebacks in the log of the service")
    return ended.returncode or bool(faults)


if __name__ == "__main__":
    sys.exit(main())
