"""Whether the API may listen where others can reach it."""

from __future__ import annotations

from datetime import UTC, datetime

from service.access import keys
from service.settings import PREFIX, Settings, SettingsError, is_loopback
from service.store.store import Store


def is_guarded(settings: Settings) -> bool:
    """Is it reached from this machine alone, or does a setting say that something else guards it?"""
    return settings.open or is_loopback(settings.host)


def check(settings: Settings, store: Store) -> None:
    """Refuse an address that others can reach, unless they need a key.

    Raises:
        SettingsError: They would not.
    """
    if not is_guarded(settings) and not keys.exist(store):
        raise SettingsError(
            f"{PREFIX}HOST={settings.host} lets others reach an API that asks for no key: make one with "
            f"`python -m service keys create`, use 127.0.0.1, or set {PREFIX}OPEN=1 if something else guards the port"
        )


async def check_before_start(settings: Settings) -> None:
    """`check`, before anything is started.

    Raises:
        SettingsError: Others would reach an API that asks for no key.
        StoreError: The store cannot be opened.
    """
    if is_guarded(settings):
        return
    store = await Store.open(settings.data_dir, now=lambda: datetime.now(UTC), min_free=settings.min_free)
    try:
        check(settings, store)
    finally:
        await store.close()
