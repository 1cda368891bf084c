"""Where a relay is and how it is talked to, read from its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from service.settings import PREFIX, Settings, SettingsError, is_loopback


class Tls(StrEnum):
    """How the connection is encrypted."""

    STARTTLS = "starttls"
    """In clear, then upgraded before anything else is said; refused if the relay does not offer it (RFC 3207)."""
    IMPLICIT = "implicit"
    """From the first byte (RFC 8314)."""
    NONE = "none"


_PORTS = {Tls.STARTTLS: 587, Tls.IMPLICIT: 465, Tls.NONE: 25}
_SWITCH = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}


@dataclass(frozen=True, slots=True)
class Target:
    """A relay's address, its encryption and the credentials for it.

    Attributes:
        host: Name or address, without brackets.
        port: 1 to 65535.
        tls: See `Tls`.
        verify: Whether the certificate must be valid for `host`.
        ca: Path of a PEM file with the authorities to trust instead of the system's; None for the system's.
        username: None where the relay wants no login.
        password: Never shown by `str` or `repr`.
    """

    host: str
    port: int
    tls: Tls
    verify: bool = True
    ca: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def all_of(cls, settings: Settings) -> list[Target]:
        """Where *settings* want e-mails sent, the preferred relay first.

        Raises:
            SettingsError: They say so in a way that cannot be used; the message names the key and holds no secret.
        """
        try:
            targets = [cls.parse(url) for url in settings.relay_urls]
        except ValueError as error:
            raise SettingsError(f"{PREFIX}SMTP_URL cannot be used: {error}") from None
        for target in targets:
            if target.ca is not None and not Path(target.ca).is_file():
                raise SettingsError(f"{PREFIX}SMTP_URL cannot be used: ca={target.ca} is not a file")
        return targets

    @classmethod
    def parse(cls, url: str) -> Target:
        """Read ``smtp://user:pass@host:587?tls=starttls|implicit|none&verify=yes|no&ca=FILE``.

        ``smtps://`` means implicit TLS. Without `tls`, STARTTLS is required, except on the loopback and on port 465.

        Raises:
            ValueError: The URL is none of these; the message never repeats the password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its words may hold the password
            raise ValueError("the SMTP URL cannot be read; percent-encode special characters of the password") from None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("an SMTP URL looks like smtp://user:pass@host:587?tls=starttls")
        if not _is_host(parts.hostname):
            raise ValueError(f"{parts.hostname!r} is not the name or the address of a host")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = options.keys() - {"tls", "verify", "ca"}
        if unknown or parts.path not in ("", "/") or parts.fragment:
            raise ValueError(f"an SMTP URL takes tls, verify and ca, not {', '.join(sorted(unknown)) or 'a path'}")
        tls = _tls(parts, options.get("tls"))
        verify = options.get("verify", "yes").lower()
        if verify not in _SWITCH:
            raise ValueError("verify must be yes or no")
        if parts.username and tls is Tls.NONE and not is_loopback(parts.hostname):
            raise ValueError("a password would go over the network in clear text: use tls=starttls or tls=implicit")
        return cls(
            host=parts.hostname,
            port=port or _PORTS[tls],
            tls=tls,
            verify=_SWITCH[verify],
            ca=options.get("ca") or None,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or "") if parts.username else None,
        )


def _is_host(name: str) -> bool:
    """Whether *name* could be looked up; the standard library raises an error of its own kind for what could not."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


def _tls(parts: SplitResult, wanted: str | None) -> Tls:
    if wanted is not None:
        try:
            tls = Tls(wanted)
        except ValueError:
            raise ValueError(f"tls must be one of {', '.join(Tls)}") from None
        if parts.scheme == "smtps" and tls is not Tls.IMPLICIT:
            raise ValueError("smtps:// means tls=implicit")
        return tls
    if parts.scheme == "smtps" or parts.port == _PORTS[Tls.IMPLICIT]:
        return Tls.IMPLICIT
    return Tls.NONE if is_loopback(parts.hostname or "") else Tls.STARTTLS
