"""JSON from strangers."""

from __future__ import annotations

import pytest

from service.email.strict_json import DEEPEST, InvalidJson, decode


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} x', "not JSON: Extra data at line 1, column 10"),
        (b'{"a": "x\ny"}', "not JSON: Invalid control character"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": "\xff"}', r"not UTF-8 \(at byte 7\)"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b"[]", "must be a JSON object"),
        (b"5", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a": 1, "a": 2}', "key 'a' appears twice"),
        (b'{"x": [{"\\u0061": 1, "a": 2}]}', "key 'a' appears twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "5,000 digits"),
        (b'{"a": 0.' + b"1" * 5000 + b"}", "too large or too long"),
        (b'{"a": "\\ud800"}', "half a surrogate pair"),
        (b'{"\\udfff": 1}', "half a surrogate pair"),
        (b'{"a": [["\\ud800x"]]}', "half a surrogate pair"),
        (b'{"a": ' + b"[" * DEEPEST + b"]" * DEEPEST + b"}", "levels deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "levels deep"),
    ],
)
def test_what_is_not_plain_json_is_refused(body: bytes, says: str) -> None:
    """Each thing that parsers let through, or choke on, is refused with its reason."""
    with pytest.raises(InvalidJson, match=says):
        decode(body)


def test_plain_json_is_read() -> None:
    """Ordinary documents come through unchanged, pairs of surrogates included."""
    assert decode(b' {"a": [1, -2.5, 1e3, true, null, "\\ud83d\\ude00"], "b": {}} ') == {
        "a": [1, -2.5, 1000.0, True, None, "😀"],
        "b": {},
    }
