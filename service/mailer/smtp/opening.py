"""From nothing to a relay that waits for MAIL: connect, greeting, EHLO, STARTTLS, AUTH; each with its own patience."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import cast

import aiosmtplib

from service.mailer.smtp.timeouts import Timeouts
from service.mailer.smtp.trouble import Kind, RelayTrouble
from service.mailer.smtp.wording import sentence, without_secrets
from service.mailer.target import Target, Tls

_OTHER_MECHANISM = frozenset({504, 534})  # RFC 4954, sections 4 and 6


async def open_client(target: Target, ehlo: str | None, timeouts: Timeouts) -> aiosmtplib.SMTP:
    """A client that is connected, encrypted and logged in as *target* says.

    Raises:
        RelayTrouble: Any of it failed; the text names the relay and holds no secret.
    """
    with _told(target, Kind.UNREACHABLE):
        sock = await _connect(target, timeouts.connect)
    client = aiosmtplib.SMTP(
        hostname=target.host,
        port=None,
        sock=sock,
        local_hostname=ehlo,
        timeout=timeouts.command,
        use_tls=target.tls is Tls.IMPLICIT,
        start_tls=False,
        validate_certs=target.verify,
        cert_bundle=target.ca,
    )
    try:
        with _told(target, Kind.TLS if target.tls is Tls.IMPLICIT else Kind.UNREACHABLE):
            await client.connect()
        with _told(target, Kind.REFUSING):
            await _hello(client)
        if target.tls is Tls.STARTTLS:
            with _told(target, Kind.TLS):
                await client.starttls(timeout=timeouts.connect)
            with _told(target, Kind.REFUSING):
                await _hello(client)
        if target.username is not None:
            with _told(target, Kind.LOGIN):
                await _log_in(client, target.username, target.password or "")
    except BaseException:
        if client.transport is None:
            sock.close()
        else:
            cast(asyncio.WriteTransport, client.transport).abort()
        client.close()
        raise
    return client


async def _connect(target: Target, patience: float) -> socket.socket:
    """A socket connected to the first of the relay's addresses that answers; each gets its share of *patience*."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + patience
    try:
        async with asyncio.timeout_at(ends):
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise TimeoutError(f"the name was not looked up within {patience:g} s") from None
    error: OSError = OSError("the name has no address")
    for n, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            async with asyncio.timeout((ends - loop.time()) / (len(found) - n)):
                await loop.sock_connect(sock, address)
        except TimeoutError:
            sock.close()
            error = TimeoutError(f"no connection within {patience:g} s")
        except OSError as failed:
            sock.close()
            error = OSError(f"no connection: {os.strerror(failed.errno) if failed.errno else failed}")
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error


async def _hello(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()


async def _log_in(client: aiosmtplib.SMTP, username: str, password: str) -> None:
    """By the first mechanism both sides know; by another only where the relay wants that: failures may be counted."""
    mechanisms = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    offered = [log_in for name, log_in in mechanisms.items() if name in client.server_auth_methods]
    if not offered:
        raise aiosmtplib.SMTPException(f"it offers none of AUTH {', '.join(mechanisms).upper()}")
    for n, log_in in enumerate(offered):
        try:
            await log_in(username, password)
        except aiosmtplib.SMTPAuthenticationError as error:
            if error.code not in _OTHER_MECHANISM or n == len(offered) - 1:
                raise
        else:
            return


@contextlib.contextmanager
def _told(target: Target, kind: Kind) -> Iterator[None]:
    """Make trouble of *kind* of what goes wrong, unless the relay's own words say more."""
    try:
        yield
    except (aiosmtplib.SMTPException, OSError) as error:
        code = error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None
        if code == 421:
            kind = Kind.BUSY
        elif kind is Kind.UNREACHABLE and code is not None:
            kind = Kind.REFUSING
        raise RelayTrouble(f"{target}: {without_secrets(sentence(error), target)}", kind) from error
