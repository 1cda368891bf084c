"""Services that several tests share, since starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.relay import Relay
from tests.acceptance.running import Service

RETRY_DELAYS = (0.4, 0.7, 1.0)
"""Seconds between the attempts of `relayed`."""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Everything on its defaults, but at free ports: e-mails go to the catch-all inbox."""
    with Service(tmp_path_factory.mktemp("up")) as service:
        yield service


@pytest.fixture(scope="session")
def relay() -> Iterator[Relay]:
    """The relay of `relayed`."""
    with Relay() as relay:
        yield relay


@pytest.fixture(scope="session")
def relayed(tmp_path_factory: pytest.TempPathFactory, relay: Relay) -> Iterator[Service]:
    """A service that sends through the scripted relay and retries soon."""
    settings = {"SMTP_URL": relay.url, "RETRY_DELAYS": ",".join(map(str, RETRY_DELAYS))}
    with Service(tmp_path_factory.mktemp("relayed"), settings) as service:
        yield service
