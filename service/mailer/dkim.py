"""DKIM (RFC 6376, RFC 8463): the sender's domain vouches for a message.

Signatures are made by processes of their own (`service.mailer.dkim_child`), since the library computes RSA in Python:
some 9 ms in which nothing else of this process would run. One that dies is replaced.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import orjson

from service.settings import PREFIX, Settings, SettingsError

PROCESSES = 2
"""Messages signed at once."""

_LARGEST_KEY = 64 * 1024
_ROOT = Path(__file__).parents[2]

_log = logging.getLogger(__name__)


class SigningFailed(Exception):
    """A message could not be signed now; trying again later is safe."""


class BadKey(Exception):
    """A key cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Key:
    """A private key, and the selector under which its public half is in the DNS: ``SELECTOR._domainkey.DOMAIN``."""

    selector: str
    pem: str = field(repr=False)
    path: Path


class Signer:
    """Signs for some domains, with every key: a domain may have an RSA key and an Ed25519 key at once."""

    def __init__(self, domains: tuple[str, ...], keys: tuple[Key, ...]) -> None:
        """Make one; `start` sees whether the keys can be used.

        Args:
            domains: Whose messages are signed, and those of their subdomains.
            keys: What they are signed with.
        """
        self._domains = sorted(domains, key=len, reverse=True)
        self._keys = keys
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(PROCESSES):
            self._idle.put(None)

    @classmethod
    def of(cls, settings: Settings) -> Signer | None:
        """A started one with the keys of *settings*; None if they have none.

        Raises:
            SettingsError: A key cannot be read or used, or nothing can be signed here.
        """
        if not settings.dkim_domain:
            return None
        setting = f"{PREFIX}DKIM_KEY_FILE"
        keys = []
        for selector, path in zip(settings.dkim_selector, settings.dkim_key_file, strict=True):
            try:
                with path.open(encoding="ascii") as file:
                    keys.append(Key(selector, file.read(_LARGEST_KEY), path))
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{setting}={path} cannot be read: {error}") from error
        signer = cls(settings.dkim_domain, tuple(keys))
        try:
            signer.start()
        except BadKey as error:
            raise SettingsError(f"{setting}={error}") from error
        except SigningFailed as error:
            raise SettingsError(f"{setting} cannot be used: {error}") from error
        return signer

    def start(self) -> None:
        """Start a process now, with which the keys are tried.

        Raises:
            BadKey: One cannot be used.
            SigningFailed: The process cannot be started.
        """
        self._idle.get()
        process = None
        try:
            process = _Process(self._keys)
        finally:
            self._idle.put(process)

    def sign(self, domain: str, data: bytes, at: datetime) -> bytes:
        """The signatures' header fields, to stand before *data*; empty if *domain* is not to be signed. Blocks.

        Args:
            domain: Of the author's address, in ASCII.
            data: The message.
            at: When it says it was signed. The same time gives the same bytes.

        Raises:
            SigningFailed: Two processes in a row died of it, or the library refuses the message.
        """
        signed_by = self._match(domain.lower())
        if signed_by is None:
            return b""
        process = self._idle.get()
        try:
            for last in (False, True):
                try:
                    if process is None:
                        process = _Process(self._keys)
                    return process.sign(signed_by, data, int(at.timestamp()))
                except (OSError, EOFError) as error:
                    status = process.kill() if process is not None else None
                    process = None
                    _log.error("a process that signs messages died (%s): %r", status, error)
                    if last:
                        raise SigningFailed("the process that signs messages died of it, twice") from error
                except BadKey as error:
                    raise SigningFailed(str(error)) from error
        finally:
            self._idle.put(process)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the processes; waits for what they are at."""
        for _ in range(PROCESSES):
            process = self._idle.get()
            if process is not None:
                process.kill()

    @property
    def pids(self) -> list[int]:
        """The idle processes."""
        return [one.pid for one in list(self._idle.queue) if one is not None]

    def _match(self, domain: str) -> str | None:
        return next((one for one in self._domains if domain == one or domain.endswith(f".{one}")), None)


class _Process:
    """One process, ready to sign. Each of its calls blocks, and may raise OSError or EOFError if it died."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "service.mailer.dkim_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={"PYTHONPATH": str(_ROOT)},  # and nothing of this process's, where passwords are
            )
        except OSError as error:
            raise SigningFailed(f"the process that signs messages cannot be started: {error}") from error
        self.pid = self._popen.pid
        self._sink = cast(IO[bytes], self._popen.stdin)
        self._source = cast(IO[bytes], self._popen.stdout)
        try:
            answer = self._ask({"keys": [[one.selector, one.pem] for one in keys]})
        except (OSError, EOFError) as error:
            raise SigningFailed(f"the process that signs messages does not start: {self.kill()}") from error
        if "bad" in answer:
            self.kill()
            raise BadKey(f"{keys[int(answer['bad'])].path} cannot be used: {answer['why']}")

    def sign(self, domain: str, data: bytes, at: int) -> bytes:
        """The header fields."""
        answer = self._ask({"domain": domain, "at": at, "size": len(data)}, data)
        if "fields" not in answer:
            raise SigningFailed(f"the message cannot be signed: {answer['why']}")
        return str(answer["fields"]).encode()

    def kill(self) -> int:
        """End it; its exit status."""
        self._popen.kill()
        with contextlib.suppress(OSError):
            self._sink.close()
        self._source.close()
        return self._popen.wait()

    def _ask(self, question: dict[str, object], data: bytes = b"") -> dict[str, Any]:
        self._sink.write(orjson.dumps(question) + b"\n")
        self._sink.write(data)
        self._sink.flush()
        line = self._source.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = orjson.loads(line)
        return answer
