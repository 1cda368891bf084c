"""Settings from the environment, a .env file and defaults."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from service.mailer.target import Target
from service.rates import Rate
from service.settings import SettingsError, is_loopback, load
from zqueue import steps


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in os.environ:
        if key.startswith("SERVICE_"):
            monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)


def test_defaults_need_no_configuration(tmp_path: Path) -> None:
    """With nothing set, everything runs on this machine: an embedded Valkey and the catch-all inbox."""
    settings = load()
    assert settings.model_dump() == {
        "data_dir": tmp_path / "data",
        "redis_url": None,
        "smtp_url": None,
        "host": "127.0.0.1",
        "port": 8000,
        "open": False,
        "api_rate": {},
        "inbox_port": 1025,
        "log_level": "info",
        "log_format": "console",
        "concurrency": 100,
        "smtp_connections": 8,
        "default_from": None,
        "ehlo_hostname": None,
        "return_path": None,
        "public_url": None,
        "domain_concurrency": 10,
        "rate_limits": {},
        "max_retries": 3,
        "retry_delays": (60.0, 600.0, 3600.0),
        "dkim_domain": (),
        "dkim_selector": (),
        "dkim_key_file": (),
        "on_unknown": "retry",
        "max_message": 26_214_400,
        "template_timeout": 2.0,
        "webhook_allow_private": False,
        "min_free": 67_108_864,
        "retention": None,
    }
    assert settings.queue_url == f"embedded://{tmp_path}/data/valkey"
    assert settings.relay_urls == ["smtp://127.0.0.1:1025?tls=none"]


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key of the environment beats the same key of .env, which beats the default; others' keys are left alone."""
    (tmp_path / ".env").write_text("SERVICE_PORT=9000\nSERVICE_INBOX_PORT=2525\nOTHER=1\n")
    monkeypatch.setenv("SERVICE_PORT", "9100")
    settings = load()
    assert (settings.port, settings.inbox_port, settings.concurrency) == (9100, 2525, 100)
    assert load(env_file=None).inbox_port == 1025


def test_values_are_read_as_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, lists, switches and words are read as people write them, and an empty value means the default."""
    for key, value in {
        "SERVICE_MIN_FREE": "1GiB",
        "SERVICE_RETRY_DELAYS": "1, 2.5,10",
        "SERVICE_OPEN": "1",
        "SERVICE_HOST": "0.0.0.0",
        "SERVICE_LOG_LEVEL": "DEBUG",
        "SERVICE_DEFAULT_FROM": "Shop <shop@example.com>",
        "SERVICE_REDIS_URL": "redis://:hunter2@db.example.com/0",
        "SERVICE_API_RATE": "send=100/s, read=3000/m",
        "SERVICE_PORT": "",
    }.items():
        monkeypatch.setenv(key, value)
    settings = load()
    assert (settings.min_free, settings.retry_delays, settings.open) == (1024**3, (1.0, 2.5, 10.0), True)
    assert (settings.log_level, settings.default_from, settings.port) == ("debug", "Shop <shop@example.com>", 8000)
    assert settings.api_rate == {"send": Rate(100, 1), "read": Rate(3000, 60)}
    assert settings.queue_url == "redis://:hunter2@db.example.com/0"
    assert settings.backoff == steps(1, 2.5, 10, jitter=0.1)
    assert settings.backoff.delay(2, lambda: 0.5) == timedelta(seconds=2.5)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("SERVICE_PORT", "65536", "a port from 0 to 65535"),
        ("SERVICE_PORT", "http", "a port from 0 to 65535"),
        ("SERVICE_OPEN", "perhaps", "1 or 0"),
        ("SERVICE_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("SERVICE_LOG_FORMAT", "xml", "console or json"),
        ("SERVICE_CONCURRENCY", "0", "from 1 to 10000"),
        ("SERVICE_SMTP_CONNECTIONS", "-1", "from 1 to 1000"),
        ("SERVICE_DEFAULT_FROM", "nobody", "an address such as"),
        ("SERVICE_DEFAULT_FROM", "a\nb <me@example.com>", "an address such as"),
        ("SERVICE_EHLO_HOSTNAME", "a b", "the host name to greet relays with"),
        ("SERVICE_MAX_RETRIES", "101", "from 0 to 100"),
        ("SERVICE_RETRY_DELAYS", "60,,600", "1 to 20 delays in seconds"),
        ("SERVICE_RETRY_DELAYS", "nan", "1 to 20 delays in seconds"),
        ("SERVICE_RETRY_DELAYS", "-1", "1 to 20 delays in seconds"),
        ("SERVICE_RETRY_DELAYS", "2592001", "1 to 20 delays in seconds"),
        ("SERVICE_RETRY_DELAYS", ",".join("1" * 21), "1 to 20 delays in seconds"),
        ("SERVICE_ON_UNKNOWN", "guess", "retry or hold"),
        *(
            ("SERVICE_API_RATE", text, "how many requests each API key may make")
            for text in ("100/s", "send=0/s", "send=1/w", "post=1/s", "send=1/s,send=2/s", "send=1e3/s")
        ),
        *(
            ("SERVICE_RATE_LIMITS", text, "how many e-mails may leave")
            for text in ("50/s", "*=0/s", "*=1/w", "a b=1/s", "-=1/s", "*=1/s,*=2/s", "B.example=1/s,b.example=1/s")
        ),
        ("SERVICE_DOMAIN_CONCURRENCY", "0", "from 1 to 10000"),
        ("SERVICE_RETURN_PATH", "Bounces <bounces@example.com>", "an address such as"),
        ("SERVICE_MIN_FREE", "much", "such as 64MiB"),
    ],
)
def test_a_bad_value_names_its_key_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, allowed: str
) -> None:
    """The error for a bad value shows the key, the value and what is allowed instead."""
    monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value).startswith(f"{key}={value} is not allowed: it must be ")
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SERVICE_REDIS_URL", "http://:hunter2@db.example.com"),
        ("SERVICE_REDIS_URL", "hunter2"),
        ("SERVICE_SMTP_URL", "mail://me:hunter2@mail.example.com"),
        ("SERVICE_SMTP_URL", "smtp://me:hunter2@"),
        ("SERVICE_SMTP_URL", "smtp://me:hunter2@mail.example.com:99999"),
        ("SERVICE_SMTP_URL", "smtp://me:hunter2@[::1"),
        ("SERVICE_SMTP_URL", "smtp://mail.example.com, smtp://me:hunter2@"),
    ],
)
def test_a_bad_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    """The error for a bad URL names its key and keeps its password to itself, in the chain of causes too."""
    monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value).startswith(f"{key} is not allowed: it must be a URL ")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings shows no password."""
    monkeypatch.setenv("SERVICE_SMTP_URL", "smtp://me:hunter2@mail.example.com")
    monkeypatch.setenv("SERVICE_REDIS_URL", "redis://:hunter2@db.example.com")
    settings = load()
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()}"
    assert settings.relay_urls == ["smtp://me:hunter2@mail.example.com"]


def test_an_inbox_at_any_port_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With INBOX_PORT=0 nobody but `up` knows where the inbox is; mail for it is not sent to port 25 instead."""
    monkeypatch.setenv("SERVICE_INBOX_PORT", "0")
    with pytest.raises(SettingsError, match="SERVICE_INBOX_PORT=0 does not say where the inbox is"):
        Target.all_of(load())


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two mistakes are told in one go."""
    monkeypatch.setenv("SERVICE_PORT", "x")
    monkeypatch.setenv("SERVICE_ON_UNKNOWN", "y")
    with pytest.raises(SettingsError, match=r"(?s)SERVICE_PORT=x.*\n.*SERVICE_ON_UNKNOWN=y"):
        load()


@pytest.mark.parametrize(
    "url",
    [
        *("mail.example.com", "http://mail.example.com", "ftp://mail.example.com", "https://", "https://[::1"),
        *("https://me@mail.example.com", "https://mail.example.com/?a=b", "https://mail.example.com/#a"),
        *("https://mail.example.com:99999", "https://mail.example.com/a b", "https://x" + "x" * 190),
    ],
)
def test_recipients_need_a_url_that_they_reach(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """One-click unsubscribing is for https (RFC 8058); anything else is refused, but http on this machine."""
    monkeypatch.setenv("SERVICE_PUBLIC_URL", url)
    with pytest.raises(SettingsError, match="SERVICE_PUBLIC_URL is not allowed: it must be where recipients"):
        load()
    for good in ("https://mail.example.com/zq/", "http://localhost:8000"):
        monkeypatch.setenv("SERVICE_PUBLIC_URL", good)
        assert load().public_url == good.rstrip("/")


@pytest.mark.parametrize("in_file", [False, True])
def test_a_misspelt_key_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_file: bool) -> None:
    """A SERVICE_ key that is no setting stops, and suggests the one that was meant."""
    if in_file:
        (tmp_path / ".env").write_text("SERVICE_REDIS_URI=redis://x\n")
    else:
        monkeypatch.setenv("SERVICE_REDIS_URI", "redis://x")
    with pytest.raises(SettingsError, match=r"SERVICE_REDIS_URI is not a setting; did you mean SERVICE_REDIS_URL\?"):
        load()


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A .env that cannot be read stops instead of being passed over."""
    (tmp_path / ".env").write_bytes(b"SERVICE_PORT=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load()


def test_loopback_is_recognised() -> None:
    """Names and addresses of the loopback, and nothing that only looks like them."""
    assert all(map(is_loopback, ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "localhost.example.com", "127.0.0.1.example.com", "::2"]))


def test_several_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs may be separated by commas, blanks and lines; a comma in a password separates nothing."""
    first, second, third = "smtp://me:a,b@one.example", "smtps://two.example", "smtp://three.example:2525"
    monkeypatch.setenv("SERVICE_SMTP_URL", f" {first},{second},\n{third}")
    assert load().relay_urls == [first, second, third]
    assert [target.host for target in Target.all_of(load())] == ["one.example", "two.example", "three.example"]


def test_rates_of_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Domains are named as people write them, and known as they are in a job's group."""
    monkeypatch.setenv("SERVICE_RATE_LIMITS", "*=50/s, Example.com=10/m, bücher.example=1/h")
    assert load().rate_limits == {
        "*": Rate(50, 1),
        "example.com": Rate(10, 60),
        "xn--bcher-kva.example": Rate(1, 3600),
    }
