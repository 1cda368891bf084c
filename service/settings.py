"""What the service is told from outside: ``SERVICE_*`` from the environment, over ``.env``, over defaults."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import idna
from dotenv import dotenv_values
from email_validator import EmailNotValidError, validate_email
from pydantic import ByteSize, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service import rates
from service.rates import Rate
from zqueue import Backoff, steps

PREFIX = "SERVICE_"
JITTER = 0.1
"""Share by which the delays between attempts are spread."""

_REDIS_SCHEMES = ("redis", "rediss", "unix", "embedded")
_LONGEST_DELAY = 30 * 86_400
_DELAYS = 20
_SEVERAL = re.compile(r"[\s,]+(?=smtps?://)")  # a comma alone may be part of a password
_SELECTOR = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_PUBLIC_URL = re.compile(r"[a-z]+://[A-Za-z0-9._:/~\[\]-]{1,190}")  # without user, query and fragment
_DAYS = re.compile(r"([1-9][0-9]{0,3}|[12][0-9]{4}|3[0-5][0-9]{3}|36[0-4][0-9]{2}|36500)d")
_SCOPES = ("send", "read", "admin")


class SettingsError(Exception):
    """A setting is missing, unknown or wrong; the message names each key and what is allowed, and no secret."""


class Settings(BaseSettings):
    """Every setting, checked. The description of a field says what is allowed; it is what an error shows.

    Make one with `load`, which also refuses keys that are none of these.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(Path("data"), description="a folder for the e-mails, made if it does not exist")
    redis_url: SecretStr | None = Field(
        None, description=f"a URL that starts with one of {', '.join(f'{name}://' for name in _REDIS_SCHEMES)}"
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="a URL such as smtp://user:password@host:587?tls=starttls (or tls=implicit, tls=none), "
        "or several of them, the preferred one first",
    )
    host: str = Field("127.0.0.1", description="the address to listen on, such as 127.0.0.1", min_length=1)
    port: int = Field(8000, description="a port from 0 to 65535 (0: any free one)", ge=0, le=65535)
    open: bool = Field(False, description="1 or 0: whether HOST may be an address that others can reach without a key")
    api_rate: Annotated[dict[str, Rate], NoDecode] = Field(
        {}, description="how many requests each API key may make, by scope, such as send=100/s,read=3000/m"
    )
    inbox_port: int = Field(1025, description="a port from 0 to 65535 (0: any free one)", ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="one of debug, info, warning, error"
    )
    log_format: Literal["console", "json"] = Field("console", description="console or json")
    concurrency: int = Field(100, description="a number of e-mails worked on at once, from 1 to 10000", ge=1, le=10_000)
    smtp_connections: int = Field(8, description="a number of connections at once, from 1 to 1000", ge=1, le=1000)
    default_from: str | None = Field(None, description="an address such as Name <me@example.com>")
    ehlo_hostname: str | None = Field(
        None,
        description="the host name to greet relays with, such as mail.example.com",
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$",
    )
    return_path: str | None = Field(None, description="an address such as bounces@example.com")
    public_url: str | None = Field(
        None,
        description="where recipients of e-mails reach this service, for unsubscribing: a URL such as "
        "https://mail.example.com (http only for this machine), at most 200 characters long",
    )
    domain_concurrency: int = Field(
        10, description="a number of e-mails to one domain on their way at once, from 1 to 10000", ge=1, le=10_000
    )
    rate_limits: Annotated[dict[str, Rate], NoDecode] = Field(
        {},
        description="how many e-mails may leave, all together (*) or to a domain, such as *=50/s,example.com=10/m",
    )
    max_retries: int = Field(3, description="a number of attempts after the first, from 0 to 100", ge=0, le=100)
    retry_delays: Annotated[tuple[float, ...], NoDecode] = Field(
        (60.0, 600.0, 3600.0),
        description=f"1 to {_DELAYS} delays in seconds, each at most 30 days, such as 60,600,3600",
    )
    dkim_domain: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="a domain whose e-mails are signed, or several of them, such as example.com,example.org"
    )
    dkim_selector: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="the name of a key in the DNS, or several of them, such as mail2026 or rsa2026,ed2026"
    )
    dkim_key_file: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description=f"a file with a private key in PEM, one for each {PREFIX}DKIM_SELECTOR, "
        f"and be given with that and {PREFIX}DKIM_DOMAIN or not at all",
        validate_default=True,
    )
    on_unknown: Literal["retry", "hold"] = Field("retry", description="retry or hold")
    max_message: ByteSize = Field(
        ByteSize(25 * 1024 * 1024),
        description="the size of the largest message, from 64KiB to 512MiB, such as 25MiB",
        ge=64 * 1024,
        le=512 * 1024 * 1024,
    )
    webhook_allow_private: bool = Field(
        False, description="1 or 0: whether webhooks may go to addresses of this machine and its network"
    )
    template_timeout: float = Field(
        2.0, description="how many seconds filling a template may take, from 0.1 to 60", ge=0.1, le=60
    )
    retention: timedelta | None = Field(
        None,
        description="how long e-mails that are over stay before they go to an archive, from 1d to 36500d, such as 90d",
    )
    min_free: ByteSize = Field(
        ByteSize(64 * 1024 * 1024), description="disk space to keep free, such as 64MiB or 67108864", ge=0
    )

    @field_validator("log_level", "log_format", "on_unknown", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("retention", mode="before")
    @classmethod
    def _days(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = _DAYS.fullmatch(value)
        if found is None:
            raise ValueError("not a number of days")
        return timedelta(days=int(found[1]))

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("retry_delays", mode="before")
    @classmethod
    def _delays(cls, value: object) -> tuple[float, ...]:
        parts = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
        delays = tuple(float(part) for part in parts)
        if not 1 <= len(delays) <= _DELAYS or not all(0 <= delay <= _LONGEST_DELAY for delay in delays):
            raise ValueError("out of range")
        return delays

    @field_validator("dkim_domain", mode="before")
    @classmethod
    def _domains(cls, value: object) -> tuple[str, ...]:
        names = [idna.encode(name, uts46=True).decode("ascii") for name in _listed(value)]
        if not all("." in name for name in names):
            raise ValueError("not a domain")
        return tuple(names)

    @field_validator("dkim_selector", mode="before")
    @classmethod
    def _selectors(cls, value: object) -> tuple[str, ...]:
        names = _listed(value)
        if not all(_SELECTOR.fullmatch(name) for name in names) or len(set(names)) < len(names):
            raise ValueError("not selectors")
        return names

    @field_validator("dkim_key_file", mode="before")
    @classmethod
    def _key_files(cls, value: object, info: ValidationInfo) -> tuple[Path, ...]:
        paths = tuple(Path(path).expanduser().absolute() for path in _listed(value))
        selectors, domains = (info.data.get(name) for name in ("dkim_selector", "dkim_domain"))
        if selectors is None or domains is None:
            return paths  # one of them is wrong itself, and named for that
        if len(paths) != len(selectors) or bool(paths) != bool(domains):
            raise ValueError("not as many")
        return paths

    @field_validator("api_rate", mode="before")
    @classmethod
    def _api_rate(cls, value: object) -> object:
        return rates.parse_named(value, _SCOPES) if isinstance(value, str) else value

    @field_validator("rate_limits", mode="before")
    @classmethod
    def _rate_limits(cls, value: object) -> object:
        return rates.parse_domains(value) if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in _REDIS_SCHEMES:
            raise ValueError("unknown scheme")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, value: SecretStr | None) -> SecretStr | None:
        for url in [] if value is None else _SEVERAL.split(value.get_secret_value().strip()):
            parts = urlsplit(url)
            if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.port == 0:
                raise ValueError("not an SMTP URL")
        return value

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not secure or not parts.hostname or parts.port == 0 or not _PUBLIC_URL.fullmatch(value):
            raise ValueError("not such a URL")
        return value.rstrip("/")

    @field_validator("return_path")
    @classmethod
    def _bare_address(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                validate_email(value, check_deliverability=False)
            except EmailNotValidError as error:
                raise ValueError("not an address") from error
        return value

    @field_validator("default_from")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            if not value.isprintable():
                raise ValueError("not printable")
            try:
                validate_email(value, check_deliverability=False, allow_display_name=True)
            except EmailNotValidError as error:
                raise ValueError("not an address") from error
        return value

    @property
    def queue_url(self) -> str:
        """Where the queue lives: `redis_url`, or an embedded Valkey in the data directory. May hold a password."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        return f"embedded://{self.data_dir / 'valkey'}"

    @property
    def relay_urls(self) -> list[str]:
        """Where e-mails are sent: `smtp_url`, or the catch-all inbox of this machine. May hold passwords.

        Raises:
            SettingsError: It is the inbox, and nobody said which port that got.
        """
        if self.smtp_url is not None:
            return _SEVERAL.split(self.smtp_url.get_secret_value().strip())
        if not self.inbox_port:
            raise SettingsError(
                f"{PREFIX}INBOX_PORT=0 does not say where the inbox is; only `up`, which starts it, knows: "
                f"set {PREFIX}INBOX_PORT to its port, or {PREFIX}SMTP_URL"
            )
        return [f"smtp://127.0.0.1:{self.inbox_port}?tls=none"]

    @property
    def backoff(self) -> Backoff:
        """The delays between counted attempts, with jitter."""
        return steps(*self.retry_delays, jitter=JITTER)


def load(env_file: Path | None = Path(".env")) -> Settings:
    """Read and check all settings.

    Args:
        env_file: A file of ``KEY=value`` lines that need not exist; None reads the environment alone.

    Raises:
        SettingsError: A value is not allowed, a key is unknown, or the file cannot be read.
    """
    try:
        in_file = dotenv_values(env_file) if env_file is not None and env_file.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{env_file} cannot be read: {error}") from error
    _refuse_unknown((*os.environ, *in_file))
    try:
        return Settings(_env_file=env_file)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(one["loc"], one.get("input")) for one in error.errors())) from None


def is_loopback(host: str) -> bool:
    """Whether *host* - a name or an address, IPv6 with or without brackets - is this machine, reached from itself."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _listed(value: object) -> tuple[str, ...]:
    """The items of a list with commas."""
    items = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    return tuple(str(item).strip() for item in items if str(item).strip())


def _refuse_unknown(keys: Iterable[str]) -> None:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    complaints = []
    for key in sorted({key for key in keys if key.upper().startswith(PREFIX)}):
        if key.upper() not in known:
            near = difflib.get_close_matches(key.upper(), known, n=1)
            complaints.append(f"{key} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    if complaints:
        raise SettingsError("\n".join(complaints))


def _explain(location: tuple[int | str, ...], value: object) -> str:
    name = str(location[0])
    field = Settings.model_fields[name]
    secret = name.endswith("_url")
    shown = f"={str(value)[:80]}" if isinstance(value, str) and not secret and len(location) == 1 else ""
    return f"{PREFIX}{name.upper()}{shown} is not allowed: it must be {field.description}"
