"""The compact parts of the index, each against a plain model."""

from __future__ import annotations

import random

from service.email.ids import new_email_id
from service.store.names import Names
from service.store.words import Words


def test_ids_are_found_and_read_again() -> None:
    """Those that the service makes, the least and the greatest, and those of any other shape."""
    names = Names()
    ids = [
        *(new_email_id() for _ in range(100)),
        "em_" + "0" * 26,
        "em_7" + "Z" * 25,
        "em_1",
        "em_8" + "0" * 25,
        "em_" + "0" * 25 + "U",
        "em_" + "a" * 26,
        "other",
        "",
    ]
    assert [names.number(one) for one in ids] == [None] * len(ids)
    assert [names.add(one) for one in ids] == list(range(len(ids)))
    assert [names.number(one) for one in ids] == list(range(len(ids)))
    assert [names.text(n) for n in range(len(ids))] == ids
    assert len(names) == len(ids)


def test_words_are_found_as_a_plain_search_would() -> None:
    """Recipients and tags as a whole, parts anywhere, also after changes; in both directions, from any row on."""
    rng = random.Random(3)
    words, model = Words(), list[tuple[list[str], list[str], str]]()
    parts = ["a", "ab", "b@x", "Straße", "ß", "日本", "a b", ""]

    def some() -> tuple[list[str], list[str], str]:
        to = rng.sample(["a@x", "b@x", "ab@x", "é@x"], rng.randint(1, 2))
        return to, rng.sample(["a", "A", "ab", "é"], rng.randint(0, 2)), " ".join(rng.sample(parts, 2)).casefold()

    for _ in range(400):
        row = rng.randrange(len(model)) if model and rng.random() < 0.2 else len(model)
        model[row : row + 1] = [some()]
        words.put(row, *model[row])
        below, above = rng.randint(0, len(model)), rng.randint(-1, len(model) - 1)
        to, tag, part = rng.choice(["a@x", "A@X", "é@x", "x"]), rng.choice(["a", "A", "b"]), rng.choice(parts[:-1])
        for needle, rows in (
            (words.to(to), [n for n, one in enumerate(model) if to.lower() in one[0]]),
            (words.tag(tag), [n for n, one in enumerate(model) if tag in one[1]]),
            (words.part(part), [n for n, one in enumerate(model) if _has(one, part.casefold())]),
        ):
            assert list(words.newest_first(needle, below)) == [n for n in reversed(rows) if n < below]
            assert list(words.oldest_first(needle, above)) == [n for n in rows if n > above]
            assert [n for n in range(len(model)) if words.has(n, needle)] == rows


def _has(words: tuple[list[str], list[str], str], part: str) -> bool:
    return any(part in each for each in (*words[0], *words[1], words[2]))


def test_a_part_of_nothing_is_not_found_across_emails() -> None:
    """The end of one e-mail's words and the beginning of the next one's are not neighbours."""
    words = Words()
    words.put(0, ["a@x"], ["t"], "end")
    words.put(1, ["begin@x"], [], "")
    assert list(words.newest_first(words.part("endbegin"), 2)) == []
    assert list(words.oldest_first(words.to("t"), -1)) == []


def test_what_changes_while_it_is_searched_for_is_not_missed() -> None:
    """It is found in its place, once, as long as it has what is searched for; what it has no more, it has not."""
    words = Words()
    for row in range(6):
        words.put(row, ["a@example.com"], ["t"], "hello")
    newest, oldest = words.newest_first(words.tag("t"), 6), words.oldest_first(words.tag("t"), -1)
    assert (next(newest), next(oldest)) == (5, 0)
    words.put(2, ["a@example.com"], ["t"], "changed")
    words.put(3, ["a@example.com"], ["other"], "changed")
    assert (list(newest), list(oldest)) == ([4, 2, 1, 0], [1, 2, 4, 5])
    assert list(words.newest_first(words.tag("t"), 6)) == [5, 4, 2, 1, 0]
