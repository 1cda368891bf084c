"""One template for many recipients: which e-mails such a batch stands for, and where its faults are told."""

from __future__ import annotations

from typing import Any

import pytest

from service.email import personal
from service.email.faults import Fault, InvalidRequest

BODY: dict[str, Any] = {
    "from": "shop@example.com",
    "tags": ["news"],
    "template": {"name": "news", "version": 2, "variables": {"shop": "Us", "name": "you"}},
    "recipients": [
        {"to": "ann@example.org", "variables": {"name": "Ann"}},
        {"to": ["bob@example.org"], "tags": ["vip"], "scheduled_at": "2030-01-01T09:00:00Z"},
    ],
}


def test_each_recipient_is_a_request() -> None:
    """What is beside the recipients is true of all; an entry's fields replace them, its variables come on top."""
    assert personal.expand(BODY) == [
        {
            "from": "shop@example.com",
            "tags": ["news"],
            "template": {"name": "news", "version": 2, "variables": {"shop": "Us", "name": "Ann"}},
            "to": "ann@example.org",
        },
        {
            "from": "shop@example.com",
            "tags": ["vip"],
            "template": {"name": "news", "version": 2, "variables": {"shop": "Us", "name": "you"}},
            "to": ["bob@example.org"],
            "scheduled_at": "2030-01-01T09:00:00Z",
        },
    ]


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"template": None}, ["/template"]),
        ({"template": "news"}, ["/template"]),
        ({"template": {"variables": []}}, []),
        ({"template": {"variables": [1]}}, ["/template/variables"]),
        ({"recipients": []}, ["/recipients"]),
        ({"recipients": {}}, ["/recipients"]),
        ({"recipients": [{}] * 1_001}, ["/recipients"]),
        (
            {"recipients": ["a@example.org", {"template": {}}, {"variables": "x"}]},
            ["/recipients/0", "/recipients/1/template", "/recipients/2/variables"],
        ),
        ({"to": "x@example.org", "emails": []}, ["/emails", "/to"]),
        ({"attachments": [{"sha256": "0"}, {"content": "eA=="}]}, ["/attachments/1/content"]),
    ],
)
def test_what_stands_for_no_requests_is_refused(wrong: dict[str, Any], where: list[str]) -> None:
    """All that is in the way is named."""
    try:
        personal.expand(BODY | wrong)
    except InvalidRequest as error:
        found = [fault.pointer for fault in error.faults]
    else:
        found = []
    assert found == where


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("/template/variables", "/recipients/1/variables"),
        ("/tags/0", "/recipients/1/tags/0"),
        ("/to", "/recipients/1/to"),
        ("", "/recipients/1"),
        ("/from", "/from"),
        ("/template/name", "/template/name"),
    ],
)
def test_a_fault_is_told_where_it_was_written(given: str, told: str) -> None:
    """In the entry, or beside the recipients."""
    assert personal.place(BODY, 1, Fault(given, "x")) == Fault(told, "x")
