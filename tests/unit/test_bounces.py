"""What the reports of real servers say, and that no message keeps their reading busy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bounces.parts import MOST_BLOCKS
from service.bounces.report import Action, Report, Reported, UnreadableReport, read

SAMPLES = Path(__file__).parents[1] / "reports"
ID = "em_01KAVK0PN0F6C9ZR8YHJX2T4QW@example.com"
ANN, BOB = ("ann@example.org",), ("bob@example.org",)
TIMEOUT = "connect to mx.example.org[192.0.2.25]:25: Connection timed out"
GMAIL = (
    "552-5.2.2 The recipient's inbox is out of storage space and inactive. 552-5.2.2 Please direct the recipient to "
    "552 5.2.2 https://support.google.com/mail/?p=OverQuotaPerm 5b1f17b1804b1-45f - gsmtp"
)
EXCHANGE = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ann@example.org not found by SMTP address lookup"
POSTFIX = "550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown in virtual mailbox table"

READ = {
    "postfix_failed": [(Reported(ANN, Action.FAILED, "5.1.1", 550, POSTFIX), True)],
    "postfix_delayed": [(Reported(BOB, Action.DELAYED, "4.4.1", None, TIMEOUT), False)],
    "postfix_expired": [(Reported(BOB, Action.FAILED, "4.4.1", None, TIMEOUT), False)],
    "exim_failed": [(Reported(ANN, Action.FAILED, "5.0.0", 550, "550 No such user here"), True)],
    "exim_old": [
        (Reported(ANN, Action.FAILED, "5.1.1", 550, "550 5.1.1 <ann@example.org>... User unknown"), True),
        (Reported(BOB, Action.FAILED, None, None, "retry timeout exceeded"), False),
    ],
    "exchange_failed": [(Reported(("Ann@example.org",), Action.FAILED, "5.1.10", 550, EXCHANGE), True)],
    "gmail_full": [(Reported(BOB, Action.FAILED, "5.2.2", 552, GMAIL), False)],
    "sendmail_mixed": [
        (Reported(ANN, Action.FAILED, "5.7.1", 550, "550 5.7.1 Message rejected due to local policy"), False),
        (Reported(BOB, Action.RELAYED, "2.1.5", 250, "250 Ok"), False),
    ],
    "international_failed": [
        (
            Reported(
                ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
                Action.FAILED,
                "5.1.1",
                550,
                "550 5.1.1 connu pas é",
            ),
            True,
        )
    ],
    "complaint": [(Reported(ANN, Action.COMPLAINT, text="abuse"), False)],
    "complaint_redacted": [(Reported((), Action.COMPLAINT, text="abuse"), False)],
}


def sample(name: str) -> bytes:
    """A report as it is kept beside the tests."""
    return (SAMPLES / f"{name}.eml").read_bytes()


def test_every_sample_is_read() -> None:
    """None lies there unused."""
    assert sorted(path.stem for path in SAMPLES.iterdir()) == sorted(READ)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", READ)
def test_a_report_is_read(name: str, ends: bytes) -> None:
    """Whichever program wrote it, and with either line end: the e-mail, the recipients, and whether it is for good."""
    report = read(sample(name).replace(b"\n", ends))
    assert report == Report((ID,), tuple(reported for reported, _ in READ[name]))
    assert [one.is_hard for one in report.recipients] == [hard for _, hard in READ[name]]


@pytest.mark.parametrize(
    ("status", "hard"),
    [
        *[
            (status, True)
            for status in ("5.0.0", "5.1.1", "5.1.2", "5.1.10", "5.2.0", "5.2.1", "5.4.1", "5.4.4", "5.4.310")
        ],
        *[(status, False) for status in ("5.1.7", "5.1.8", "5.2.2", "5.2.3", "5.3.4", "5.4.7", "5.4.300", "5.5.4")],
        *[(status, False) for status in ("5.6.0", "5.7.1", "5.7.26", "4.2.2", "4.7.0", "2.1.5")],
    ],
)
def test_what_is_about_the_address_is_hard(status: str, hard: bool) -> None:
    """A full mailbox, a policy or a message that is too large says nothing about the next message."""
    assert Reported(ANN, Action.FAILED, status).is_hard is hard
    assert not Reported(ANN, Action.DELAYED, status).is_hard


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("abuse", Action.COMPLAINT),
        ("Fraud", Action.COMPLAINT),
        ("other", Action.COMPLAINT),
        ("something-new", Action.COMPLAINT),
        ("not-spam", Action.NO_COMPLAINT),
        ("auth-failure", Action.NO_COMPLAINT),
    ],
)
def test_not_every_feedback_is_a_complaint(kind: str, action: Action) -> None:
    """That a message is not spam, or that its signature failed, is nobody's wish to get no more."""
    report = read(sample("complaint").replace(b"Feedback-Type: abuse", f"Feedback-Type: {kind}".encode()))
    assert [(one.action, one.text) for one in report.recipients] == [(action, kind.lower())]


def test_a_report_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    """Some servers cut what they return; the end of a multipart may be missing."""
    data = sample("postfix_failed")
    cut = data[: data.index(b"Subject: Your order")]
    assert b"Message-ID" not in cut
    with pytest.raises(UnreadableReport, match="does not name an e-mail"):
        read(cut)
    cut = data[: data.index(b"Date: Tue, 24 Nov 2026 12:00:00")]
    assert read(cut) == read(data)


def test_the_message_is_found_by_what_the_report_answers() -> None:
    """A report that returns nothing of the message is an answer to it; failing that, its text names it."""
    for name, lines in (("exim_failed", (b"References",)), ("exchange_failed", ()), ("gmail_full", (b"In-Reply-To",))):
        data = sample(name)
        data = data[: data.index(b"Content-type: message/rfc822" if lines == (b"References",) else b"message/rfc822")]
        assert read(data).message_ids == (ID,)
    answered = sample("exchange_failed").replace(b"In-Reply-To", b"X-Nothing").replace(b"References", b"X-None")
    assert read(answered[: answered.index(b"message/rfc822")]).message_ids == (ID,)


def test_what_a_report_answers_counts_before_what_it_talks_about() -> None:
    """Its text may quote the Message-ID of another e-mail."""
    data = sample("exchange_failed").replace(b"Message ID:\t<em_01", b"Message ID:\t<em_02")
    data = data[: data.index(b"message/rfc822")]
    for other in (b"In-Reply-To", b"References"):
        assert read(data.replace(other, b"X-Other")).message_ids == (ID,)


def test_a_report_about_very_many_is_read_in_part() -> None:
    """No e-mail has more than a hundred recipients."""
    block = b"Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n\n"
    data = sample("postfix_failed").replace(b"Reporting-MTA", block * 500 + b"Reporting-MTA")
    assert len(read(data).recipients) == MOST_BLOCKS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\xff\xfe" * 100,
        b"Subject: Out of office\n\nI am away until Monday.",
        b"Content-Type: multipart/report\n\nno boundary",
        b"Content-Type: multipart/report; boundary=x\n\n--x",
        b"Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\n"
        b"Action: failed\n--x--",
        b"Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\n"
        b"Final-Recipient: rfc822;a@example.org\nAction: exploded\n--x--",
        b"X-Failed-Recipients: nobody, at all\n\n",
    ],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    """With the reason."""
    with pytest.raises(UnreadableReport, match="is no report about recipients"):
        read(data)


MIB = 1024 * 1024


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" * (MIB // 50),
        b"".join(b"Content-Type: multipart/mixed; boundary=b%dx\n\n--b%dx\n" % (n, n) for n in range(MIB // 56)),
        b"Content-Type: multipart/digest; boundary=a\n\n" + b"--a\n\n\n" * (MIB // 8),
        b"Content-Type: multipart/report; boundary=a\n\n--a\nContent-Type: message/delivery-status\n\n"
        + b"a:\n\n" * (MIB // 4),
        b"Content-Type: multipart/report; boundary=a\n\n--a\nContent-Type: message/delivery-status\n\n"
        + b"Final-Recipient: rfc822;a@b.example\nAction: failed\n\n" * (MIB // 52),
        b"Content-Type: multipart/report; boundary=" + b'"\\;' * (MIB // 3) + b"\n\n",
        b"Content-Type: multipart/report;" + b" a*0=b;" * (MIB // 7) + b"\n\n",
        b"\n" * MIB,
        b"a:" + b"\n " * (MIB // 2),
        b"X-Failed-Recipients:" + b"a@b.example," * (MIB // 12),
        b"X-Failed-Recipients: a@b.example\nSubject: " + b"em_0" * (MIB // 4),
        b"X-Failed-Recipients: " + b"<" * MIB,
        b"X-Failed-Recipients: a@b.example\n\n" + b"a@b.example 550" + b" " * MIB,
    ],
    ids=range(13),
)
def test_no_message_keeps_the_reading_busy(data: bytes) -> None:
    """Nesting, very many parts, blocks and parameters: each is read in time that grows with its size alone."""
    began = time.process_time()
    with pytest.raises(UnreadableReport):
        read(data)
    assert time.process_time() - began < 5


@given(st.data())
def test_damaged_reports_are_read_or_refused(data: st.DataObject) -> None:
    """Whatever is changed in a report, it is read or refused."""
    whole = sample(data.draw(st.sampled_from(sorted(READ))))
    at = data.draw(st.integers(0, len(whole)))
    broken = whole[:at] + data.draw(st.binary(max_size=20)) + whole[at + data.draw(st.integers(0, 200)) :]
    try:
        report = read(broken)
    except UnreadableReport:
        return
    assert report.message_ids
    assert report.recipients
