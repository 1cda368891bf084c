"""Through HTTP, store, queue, worker and SMTP into Postfix, and its mailbox read back by Perl's MIME-tools.

Neither the server nor the reader shares a line with what builds the messages, which a parser of Python would.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests import rfc6376
from tests.acceptance.mta import POSTFIX, Mta
from tests.acceptance.running import ROOT, Service

SCRIPT = ROOT / "tests" / "acceptance" / "parse_mail.pl"
KEYS: list[RSAPrivateKey | Ed25519PrivateKey] = [generate_private_key(65537, 2048), Ed25519PrivateKey.generate()]


def missing() -> str | None:
    """What is not there to run these tests; None if all is."""
    if os.geteuid() != 0:
        return "Postfix can be started by root only"
    if POSTFIX is None:
        return "apt-get install postfix"
    perl = shutil.which("perl")
    modules = ["-MMIME::Parser", "-MMail::Address", "-MJSON::PP", "-e1"]
    if perl is None or subprocess.run([perl, *modules], capture_output=True, check=False).returncode:
        return "apt-get install libmime-tools-perl"
    return None


@pytest.fixture(scope="module")
def mta() -> Iterator[Mta]:
    """A running Postfix."""
    absent = missing()
    if absent is not None:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(absent)
        pytest.skip(absent)
    with Mta() as mta:
        yield mta


@pytest.fixture(scope="module")
def posting(mta: Mta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that sends through it, and signs with an RSA key and an Ed25519 key."""
    folder = tmp_path_factory.mktemp("posting")
    files = [folder / "rsa.pem", folder / "ed.pem"]
    for file, key in zip(files, KEYS, strict=True):
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    dkim = {"DKIM_DOMAIN": "example.com", "DKIM_SELECTOR": "rsa,ed", "DKIM_KEY_FILE": ",".join(map(str, files))}
    with Service(folder, {"SMTP_URL": mta.url} | dkim) as service:
        yield service


def parsed(data: bytes) -> dict[str, Any]:
    """The message as Perl reads it."""
    perl = ["perl", str(SCRIPT)]
    message: dict[str, Any] = json.loads(subprocess.run(perl, input=data, capture_output=True, check=True).stdout)
    return message


def leaf(kind: str, text: str) -> dict[str, Any]:
    """A text part as it is read back: with the line ends of the mailbox, and one at the end."""
    text = re.sub(r"\r\n|\r", "\n", text)
    return {"type": f"text/{kind}", "body": text + "\n" if text and not text.endswith("\n") else text}


def shape(part: dict[str, Any]) -> dict[str, Any]:
    """A part as it was read, in the form that `leaf` and `attached` have."""
    if "parts" in part:
        return {"type": part["type"], "parts": [shape(one) for one in part["parts"]]}
    body = base64.b64decode(part["body"])
    if part["filename"] is None:
        assert part["charset"] == "utf-8"
        return {"type": part["type"], "body": body.decode("utf-8").replace("\r\n", "\n")}
    names = ("type", "filename", "disposition", "id")
    return {name: part[name] for name in names} | {"data": body}


def attached(filename: str, kind: str, data: bytes, content_id: str | None = None) -> dict[str, Any]:
    """A file as it is read back."""
    disposition = "inline" if content_id else "attachment"
    identifier = f"<{content_id}>" if content_id else None
    return {"type": kind, "filename": filename, "disposition": disposition, "id": identifier, "data": data}


def file(filename: str, kind: str, data: bytes, content_id: str | None = None) -> dict[str, Any]:
    """The same file in a request."""
    one = {"filename": filename, "content_type": kind, "content": base64.b64encode(data).decode()}
    return one | ({"content_id": content_id} if content_id else {})


def several(kind: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """A multipart as it is read back."""
    return {"type": f"multipart/{kind}", "parts": list(parts)}


PNG = bytes(range(256)) * 40
PDF = ("Übersicht 👋 " * 15 + ".pdf", "application/pdf", b"\r\n.\r\n\n.\n\x00\xff" * 3)
BIG = ("large.bin", "application/octet-stream", os.urandom(5 * 1024 * 1024))
LONG = "https://example.com/unsubscribe/" + "u" * 300
HTML = '<p>Grüße <img src="cid:logo@example.com"></p>'
DOTS = ".\n..\n...\n.leading\n\n.\nFrom here\n>From there\n"
MIXED = "one\r\ntwo\nthree\rfour\r\n\n\r\n"

SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"text": "Hi"}, leaf("plain", "Hi")),
    "empty": ({"text": ""}, leaf("plain", "")),
    "html only": ({"html": "<p>Grüße</p>"}, leaf("html", "<p>Grüße</p>")),
    "dots": ({"text": DOTS}, leaf("plain", DOTS)),
    "line ends": ({"text": MIXED, "html": MIXED}, several("alternative", leaf("plain", MIXED), leaf("html", MIXED))),
    "long lines": (
        {"text": "x" * 5000 + "\n" + "y " * 3000, "html": "漢字" * 4000},
        several("alternative", leaf("plain", "x" * 5000 + "\n" + "y " * 3000), leaf("html", "漢字" * 4000)),
    ),
    "trailing blanks": ({"text": "a \n\t\nb\t \n"}, leaf("plain", "a \n\t\nb\t \n")),
    "file": (
        {"text": "See", "attachments": [file(*PDF)]},
        several("mixed", leaf("plain", "See"), attached(*PDF)),
    ),
    "5 MB": ({"html": "x", "attachments": [file(*BIG)]}, several("mixed", leaf("html", "x"), attached(*BIG))),
    "inline image": (
        {"html": HTML, "attachments": [file("logo.png", "image/png", PNG, "logo@example.com")]},
        several("related", leaf("html", HTML), attached("logo.png", "image/png", PNG, "logo@example.com")),
    ),
    "everything": (
        {
            "text": DOTS,
            "html": HTML,
            "attachments": [
                file(*PDF),
                file("a 'b' (c); d=1.txt", "text/plain", b".\n"),
                file("logo.png", "image/png", PNG, "logo@example.com"),
            ],
        },
        several(
            "mixed",
            several(
                "related",
                several("alternative", leaf("plain", DOTS), leaf("html", HTML)),
                attached("logo.png", "image/png", PNG, "logo@example.com"),
            ),
            attached(*PDF),
            attached("a 'b' (c); d=1.txt", "text/plain", b".\n"),
        ),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_arrives_as_it_was_asked_for(name: str, mta: Mta, posting: Service) -> None:
    """Structure, texts, files, their names and kinds are read back the same, and both signatures verify."""
    asked, expected = SHAPES[name]
    record = post(posting, asked)
    (data,) = mta.delivered(record["message_id"])
    assert shape(parsed(data)["body"]) == expected
    check_signatures(data)


HEADERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "emoji": ({"subject": "👋🏽 Grüße an 👩‍👩‍👧‍👦! " * 30}, {"subject": "👋🏽 Grüße an 👩‍👩‍👧‍👦! " * 30}),
    "long subject": ({"subject": "word " * 190 + "end"}, {"subject": "word " * 190 + "end"}),
    "looks encoded": ({"subject": "=?utf-8?q?a?= b"}, {"subject": "=?utf-8?q?a?= b"}),
    "no subject": ({"subject": ""}, {"subject": ""}),
    "addresses": (
        {
            "from": '"Shop, the \\"best\\"" <shop@example.com>',
            "to": ["Änne Müller <you@example.com>", "b@bücher.example"],
            "cc": "漢字" * 30 + " <c@example.com>",
            "reply_to": "Help <help@example.com>",
        },
        {
            "from": [['Shop, the "best"', "shop@example.com"]],
            "to": [["Änne Müller", "you@example.com"], ["", "b@xn--bcher-kva.example"]],
            "cc": [["漢字" * 30, "c@example.com"]],
            "reply-to": [["Help", "help@example.com"]],
        },
    ),
    "RFC 6531": (
        {"to": ["Jörg <jörg@bücher.example>", "you@example.com"], "subject": "Grüße"},
        {"to": [["Jörg", "jörg@xn--bcher-kva.example"], ["", "you@example.com"]], "subject": "Grüße"},
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_every_header_arrives_as_it_was_asked_for(name: str, mta: Mta, posting: Service) -> None:
    """Subjects, names and addresses are read back the same; each recipient gets a copy."""
    asked, expected = HEADERS[name]
    record = post(posting, asked)
    for data in mta.delivered(record["message_id"], copies=len(record["recipients"])):
        message = parsed(data)
        assert {name: message[name] for name in expected} == expected
        check_signatures(data)


def test_long_structured_headers_arrive_in_one_piece(mta: Mta, posting: Service) -> None:
    """List-Unsubscribe of 300 characters and a long References are in the mailbox byte for byte, on one line each."""
    references = " ".join(f"<{number}.{'r' * 50}@example.com>" for number in range(10))
    headers = {"List-Unsubscribe": f"<{LONG}>", "References": references, "In-Reply-To": f"<{'i' * 300}@example.com>"}
    (data,) = mta.delivered(post(posting, {"headers": headers})["message_id"])
    for name, value in headers.items():
        assert f"\n{name}: {value}\n".encode() in data
    check_signatures(data)


def test_blind_copies_arrive_and_tell_nothing(mta: Mta, posting: Service) -> None:
    """Each of three recipients gets the same message, and no copy names the one in Bcc but the server's own notes."""
    record = post(posting, {"cc": "c@example.com", "bcc": "secret@example.com"})
    copies = mta.delivered(record["message_id"], copies=3)
    sent = {data[data.index(b"DKIM-Signature:") :] for data in copies}
    assert len(sent) == 1
    assert b"secret" not in sent.pop()


def post(service: Service, asked: dict[str, Any]) -> dict[str, Any]:
    """Send it now; the record once it has been taken."""
    text = {} if "html" in asked else {"text": "Hi"}
    body = {"from": "shop@example.com", "to": "you@example.com", "subject": "Hi", **text, **asked}
    response = service.http.post("/v1/emails", json=body)
    assert response.status_code == 201, response.text
    return service.wait_for(response.json()["id"], "completed", timeout=40)


def check_signatures(data: bytes) -> None:
    """Both verify over what lies in the mailbox."""
    wire = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    for index, key in enumerate(KEYS):
        rfc6376.verify(wire, index, key.public_key())
