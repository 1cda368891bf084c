"""The SMTP sink as a program: the witness of tests that kill everything else."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from service.mailer.smtp import Connection
from service.mailer.target import Target


async def test_a_250_is_in_the_log(tmp_path: Path) -> None:
    """What the sink said 250 to is in its log, though it is killed at that moment."""
    log = tmp_path / "log.jsonl"
    arguments = ["-m", "tests.smtpd", "--port", "0", "--log", str(log)]
    sink = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert sink.stdout is not None
    port = int(await sink.stdout.readline())
    connection = await Connection.open(Target.parse(f"smtp://127.0.0.1:{port}"), ehlo="test")
    for number in range(3):
        data = f"Message-ID: <{number}@example.com>\r\n\r\n".encode()
        await connection.send("from@example.com", ["ann@example.org"], data)
    sink.kill()
    await sink.wait()
    connection.abort()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["message_id"], line["from"], line["to"]) for line in lines] == [
        (f"<{number}@example.com>", "from@example.com", ["ann@example.org"]) for number in range(3)
    ]
    assert all(line["wall"] > 0 and line["monotonic"] > 0 for line in lines)
