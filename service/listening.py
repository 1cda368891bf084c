"""Sockets to serve on. A supervisor opens them before anything is started, and they outlive a child that dies."""

from __future__ import annotations

import errno
import os
import socket

from service.settings import PREFIX, Settings, SettingsError

_BACKLOG = 2048


def for_api(settings: Settings) -> socket.socket:
    """A socket that listens where the API is to be.

    Raises:
        SettingsError: The address cannot be used, for one because the port is taken.
    """
    return _listen(settings.host, settings.port, "PORT")


def for_inbox(settings: Settings) -> socket.socket:
    """A socket of the loopback interface that listens where the inbox is to be.

    Raises:
        SettingsError: The port cannot be used, for one because it is taken.
    """
    return _listen("127.0.0.1", settings.inbox_port, "INBOX_PORT")


def _listen(host: str, port: int, key: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise SettingsError(f"{PREFIX}HOST={host} cannot be used: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"another program listens at {host}:{port} already"
        else:
            why = os.strerror(error.errno or 0)  # create_server adds its own words to the text of the error
        wrong = f"HOST={host}" if error.errno == errno.EADDRNOTAVAIL else f"{key}={port}"
        raise SettingsError(f"{PREFIX}{wrong} cannot be used: {why}") from error
    listening.set_inheritable(True)
    return listening
