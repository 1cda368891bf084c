"""How `make test` spreads the suite over processes: a plugin for pytest-xdist, with `--dist loadgroup`.

The tests of a module run in one process, in their order: they share fixtures, and some go on from one another. Modules
with the same `xdist_group` share one too. Each process has servers of its own.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling


class ByModule(LoadGroupScheduling):  # type: ignore[misc]
    """Hands out the groups, and the modules that are in none, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return str(super()._split_scope(nodeid)).partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Leave the order to this plugin; pytest-xdist would begin with the modules that have most tests."""
    config.option.loadscopereorder = False


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByModule:
    """Decide which process runs what."""
    return ByModule(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that have slow tests, lest one of them run on when all others have ended."""
    slow = {_module(item) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: _module(item) not in slow)


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
