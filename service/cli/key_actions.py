"""Makes, lists and ends API keys.

The store need not be idle: an API that runs knows of a key, and of its end, with its next request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any

from service import exits
from service.access import audit, keys
from service.access.keys import ApiKey, UnknownKey
from service.access.scopes import GRANTED, Scope
from service.cli.refusing import refuse
from service.email.times import to_z
from service.settings import Settings
from service.store.store import Store


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Do what *options* say; the exit status.

    Raises:
        StoreError: The store cannot be opened, or takes no writes.
    """
    action = {"create": _create, "list": _list, "revoke": _revoke}[options.action]

    async def work() -> int:
        store = await Store.open(settings.data_dir, now=lambda: datetime.now(UTC), min_free=settings.min_free)
        try:
            return await action(store, options)
        finally:
            await store.close()

    return asyncio.run(work())


async def _create(store: Store, options: argparse.Namespace) -> int:
    scopes = frozenset(map(Scope, options.scope or (Scope.SEND, Scope.READ)))
    key, token = await keys.create(
        store, name=options.name, scopes=scopes, expires_at=options.expires, by=audit.of_command_line()
    )
    if options.json:
        _print(_shown(key) | {"token": token})
    else:
        print(f"Key {key.id} ({_scopes(key)}). It is shown this once; the store keeps only its hash:", file=sys.stderr)
        print(token)
    return exits.OK


async def _list(store: Store, options: argparse.Namespace) -> int:
    found = await asyncio.to_thread(keys.every, store)
    if options.json:
        _print([_shown(key) for key in found])
        return exits.OK
    rows = [("ID", "SCOPES", "CREATED", "STATE", "NAME")]
    rows += [(key.id, _scopes(key), f"{key.created_at:%Y-%m-%d}", _state(key), key.name) for key in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join((*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4])).rstrip())
    return exits.OK


async def _revoke(store: Store, options: argparse.Namespace) -> int:
    try:
        key = await keys.revoke(store, options.id, by=audit.of_command_line())
    except UnknownKey as error:
        return refuse(exits.USAGE, f"{error}; `keys list` shows them all")
    if options.json:
        _print(_shown(key))
    else:
        print(f"Key {key.id} is revoked.")
    return exits.OK


def _scopes(key: ApiKey) -> str:
    return ", ".join(scope for scope in GRANTED if scope in key.scopes)


def _state(key: ApiKey) -> str:
    ended = key.ended(datetime.now(UTC))
    if ended is not None:
        return ended.removeprefix("was ").removeprefix("has ")
    return "active" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M}Z"


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope.value for scope in GRANTED if scope in key.scopes],
        "created_at": to_z(key.created_at),
        "expires_at": None if key.expires_at is None else to_z(key.expires_at),
        "revoked_at": None if key.revoked_at is None else to_z(key.revoked_at),
    }


def _print(document: object) -> None:
    print(json.dumps(document, indent=2))
