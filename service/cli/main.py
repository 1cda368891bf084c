"""``python -m service ...``: the service's programs.

Each imports what it runs only once it runs: `up` has four processes to start, and a wrong setting is told at once.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable

from service import exits
from service.cli import backup, check, compact, keys, processes, repair, transfer, up
from service.cli.refusing import refuse
from service.settings import PREFIX, Settings, SettingsError, load
from service.store.errors import StoreDamaged, StoreError, StoreUnavailable
from zqueue import QueueUnavailable

_PASSING = frozenset({"no_space", "store_locked", "write_failed", "journal_cut"})
"""Why the store may not be used now, and yet by the next process."""

_REPAIR = "`python -m service repair` keeps everything else, and says what it cut."

_DESCRIPTION = "A self-hosted e-mail scheduler. Settings come from SERVICE_* variables, over .env, over defaults."


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status (see `exits`)."""
    options = _parser().parse_args(arguments)
    try:
        settings = load()
    except SettingsError as error:
        return refuse(exits.USAGE, str(error))
    from service import logs

    logs.configure(settings)
    run: Callable[[Settings, argparse.Namespace], int] = options.run
    try:
        return run(settings, options)
    except SettingsError as error:
        return refuse(exits.USAGE, str(error))
    except StoreDamaged as error:
        return refuse(exits.DAMAGED, f"the store is damaged and nothing was started: {error}\n{_REPAIR}")
    except StoreError as error:
        passing = isinstance(error, StoreUnavailable) and error.reason in _PASSING
        why = f"the store in {PREFIX}DATA_DIR={settings.data_dir} cannot be used: {error}"
        return refuse(exits.FAILED if passing else exits.UNAVAILABLE, why)
    except QueueUnavailable as error:
        return refuse(exits.UNAVAILABLE, str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (up, processes, check, repair, keys, compact, backup, transfer):
        module.register(commands)
    return parser
