"""Which extra headers an e-mail may have."""

from __future__ import annotations

import pytest

from service.email import header_fields
from service.mailer import mime
from tests.unit.test_mime import NOW, an_email

OWNED = (
    *("Bcc", "Cc", "Date", "From", "Message-ID", "MIME-Version", "Reply-To", "Sender", "Subject", "To"),
    *("Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID", "Content-Anything"),
    *("Return-Path", "Received", "Received-SPF", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-From"),
    *("DKIM-Signature", "DomainKey-Signature", "Authentication-Results", "ARC-Seal", "ARC-Message-Signature"),
    *("Resent-From", "Resent-Bcc", "Apparently-To"),
)
FREE = (
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "References",
    "In-Reply-To",
    "X-Anything",
    "Auto-Submitted",
    "Comments",
)


@pytest.mark.parametrize("name", OWNED)
def test_what_the_service_owns_cannot_be_set(name: str) -> None:
    """In no spelling: neither does a request get through, nor would a message be made of it."""
    for spelling in (name, name.lower(), name.upper()):
        complaint = header_fields.complaint_about_header(spelling, "x")
        assert complaint is not None
        assert complaint.startswith("is a header that the service writes itself")
        with pytest.raises(ValueError, match=spelling):
            mime.build(an_email(headers={spelling: "x"}), NOW, dict[str, bytes]().__getitem__)


@pytest.mark.parametrize("name", FREE)
def test_the_rest_is_free(name: str) -> None:
    """What belongs to the sender is written as given."""
    assert header_fields.complaint_about_header(name, "<x@example.com>") is None
    data = mime.build(an_email(headers={name: "<x@example.com>"}), NOW, dict[str, bytes]().__getitem__).data
    assert f"\r\n{name}: <x@example.com>\r\n".encode() in data
