"""``up``: everything in one command."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from service.settings import Settings


def register(commands: Any) -> None:
    """Add the command to *commands*, the subparsers of the program."""
    parser = commands.add_parser("up", help="everything in one command: Valkey, API, worker and a catch-all inbox")
    parser.set_defaults(run=_up)


def _up(settings: Settings, _options: argparse.Namespace) -> int:
    from service.access import reach
    from service.supervise import Supervisor

    def announce(url: str, inbox_port: int) -> None:
        print(_announcement(settings, url, inbox_port), flush=True)

    async def supervise() -> int:
        await reach.check_before_start(settings)
        return await Supervisor(settings, announce).run()

    return asyncio.run(supervise())


def _announcement(settings: Settings, url: str, inbox_port: int) -> str:
    to_inbox = settings.smtp_url is None
    mail = f"caught by the inbox: {url}/inbox (SMTP on 127.0.0.1:{inbox_port})" if to_inbox else "sent by your relay"
    return f"""
The e-mail scheduler is running. Ctrl-C stops it.

  API    {url}/v1/emails
  Mail   {mail}
  Data   {settings.data_dir}

Schedule an e-mail for 5 seconds from now{", then look into the inbox" if to_inbox else ""}:

  curl -s {url}/v1/emails -H 'Content-Type: application/json' -d '{{
    "from": "me@example.com", "to": "you@example.com", "subject": "Hello", "text": "It is time.",
    "scheduled_at": "'$(date -u -d '5 seconds' +%Y-%m-%dT%H:%M:%SZ)'"}}'
"""
