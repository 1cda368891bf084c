"""Ids of e-mails as numbers: 16 bytes instead of a text of 29 letters, since there may be a million of them.

An id of another shape than `service.email.ids` makes is kept as it is.
"""

from __future__ import annotations

from array import array

from service.email.ids import PREFIX, is_email_id

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_BASE_32 = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_HALF = (1 << 64) - 1


class Names:
    """Every id by the number of its row, and the other way round."""

    def __init__(self) -> None:
        self._numbers: dict[int | str, int] = {}
        self._high = array("Q")
        self._low = array("Q")
        self._odd: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, email_id: str) -> int | None:
        """The row of an id, or None."""
        return self._numbers.get(_short(email_id))

    def add(self, email_id: str) -> int:
        """Give an id the next row."""
        number = len(self._high)
        short = _short(email_id)
        self._numbers[short] = number
        if isinstance(short, str):
            self._odd[number] = short
            short = 0
        self._high.append(short >> 64)
        self._low.append(short & _HALF)
        return number

    def text(self, number: int) -> str:
        """The id of a row."""
        odd = self._odd.get(number)
        if odd is not None:
            return odd
        value = self._high[number] << 64 | self._low[number]
        return PREFIX + "".join([_PAIRS[value >> shift & 0x3FF] for shift in range(120, -1, -10)])


def _short(email_id: str) -> int | str:
    if not is_email_id(email_id):
        return email_id
    return int(email_id[len(PREFIX) :].translate(_TO_BASE_32), 32)
