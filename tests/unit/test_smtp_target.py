"""Reading the URL of a relay."""

from __future__ import annotations

import pytest

from service.mailer.target import Target, Tls
from service.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("smtp://mail.example.com", Target("mail.example.com", 587, Tls.STARTTLS)),
        ("smtp://mail.example.com:2525", Target("mail.example.com", 2525, Tls.STARTTLS)),
        ("smtp://mail.example.com:465", Target("mail.example.com", 465, Tls.IMPLICIT)),
        ("smtps://mail.example.com", Target("mail.example.com", 465, Tls.IMPLICIT)),
        ("smtp://mail.example.com?tls=none", Target("mail.example.com", 25, Tls.NONE)),
        ("smtp://127.0.0.1:1025", Target("127.0.0.1", 1025, Tls.NONE)),
        ("smtp://[::1]:1025/", Target("::1", 1025, Tls.NONE)),
        ("smtp://localhost:1025?tls=starttls&verify=no", Target("localhost", 1025, Tls.STARTTLS, verify=False)),
        ("smtp://mail.example.com?ca=/etc/ca.pem", Target("mail.example.com", 587, Tls.STARTTLS, ca="/etc/ca.pem")),
        (
            "smtp://me%40example.com:p%3Aw%2F@mail.example.com",
            Target("mail.example.com", 587, Tls.STARTTLS, username="me@example.com", password="p:w/"),
        ),
        ("smtp://me:x@localhost", Target("localhost", 25, Tls.NONE, username="me", password="x")),
    ],
)
def test_urls(url: str, target: Target) -> None:
    """Encryption is required off the loopback unless the URL says otherwise; ports follow from it."""
    assert Target.parse(url) == target


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://mail.example.com", "looks like"),
        ("smtp://", "looks like"),
        ("smtp://me:hunter2@mail.example.com?tls=none", "clear text"),
        ("smtp://me:hunter2/x@mail.example.com", "percent-encode"),
        ("smtp://mail.example.com:99999", "cannot be read"),
        ("smtp://mail.example.com?tls=maybe", "starttls, implicit, none"),
        ("smtps://mail.example.com?tls=starttls", "implicit"),
        ("smtp://mail.example.com?verify=perhaps", "yes or no"),
        ("smtp://me:hunter2@mail.example.com?tsl=none", "tsl"),
        ("smtp://mail.example.com/path", "path"),
        ("smtp://mail..example.com", "not the name or the address"),
        (f"smtp://{'x' * 64}.example.com", "not the name or the address"),
    ],
)
def test_bad_urls(url: str, words: str) -> None:
    """A URL that cannot be meant is refused with the reason, which never holds the password."""
    with pytest.raises(ValueError, match=words) as caught:
        Target.parse(url)
    assert "hunter2" not in str(caught.value)


def test_password_is_not_shown() -> None:
    """Neither form of a target shows the password."""
    target = Target.parse("smtp://me:hunter2@mail.example.com")
    assert "hunter2" not in f"{target!r} {target}"


def test_a_missing_authority_is_told_at_the_start() -> None:
    """A file that is not there is named at once, and not at each try to connect."""
    settings = Settings(_env_file=None, smtp_url="smtp://mail.example.com?ca=/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=r"SERVICE_SMTP_URL cannot be used: ca=/nowhere/ca\.pem is not a file"):
        Target.all_of(settings)
