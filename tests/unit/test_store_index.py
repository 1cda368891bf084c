"""Index: the agenda against a plain list, and lines that are not about e-mails."""

from __future__ import annotations

import random
import tracemalloc
from datetime import timedelta

from service.email.times import to_z
from service.store.agenda import Agenda
from service.store.index import Index
from service.store.log import Line
from tests.unit.store_emails import NOW


def test_the_agenda_is_a_list_in_order() -> None:
    """Whatever was added and removed in whatever order, it answers what a sorted list would, to the second."""
    rng = random.Random(7)
    agenda, model = Agenda(), dict[str, str]()
    for step in range(9_000):
        name = f"em_{rng.randrange(2_000)}"
        if name in model:
            agenda.remove(name, model.pop(name))
        else:
            model[name] = to_z(NOW + timedelta(milliseconds=rng.randrange(100_000)))
            agenda.add(name, model[name])
        if step % 30 == 0:
            moment = to_z(NOW + timedelta(milliseconds=rng.randrange(100_000)))
            found = list(agenda.before(moment))
            assert sorted(found) == sorted(name for name, due in model.items() if due < moment)
            for ordered in (found, agenda.ids()):
                seconds = [model[name][:19] for name in ordered]
                assert seconds == sorted(seconds)
            assert sorted(agenda.ids()) == sorted(model)


def test_an_agenda_that_nobody_reads_stays_small() -> None:
    """A process that only adds and removes, as one without the reconciler, keeps nothing of what is gone."""
    agenda = Agenda()
    keep = to_z(NOW)
    agenda.add("em_kept", keep)
    tracemalloc.start()
    try:
        for second in range(1, 50_000):
            due = to_z(NOW + timedelta(seconds=second))
            agenda.add("em_1", due)
            agenda.remove("em_1", due)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 1_000_000
    assert agenda.ids() == ["em_kept"]


def test_lines_about_other_things_only_count() -> None:
    """A line without a state moves the index on and changes no e-mail."""
    index = Index()
    line = Line(seq=7, at="2026-11-24T09:00:00.000000Z", id="", rev=0, type="sealed", data={"next": "x"}, crc="")
    index.apply(1, line)
    assert (index.seq, len(index), index.row("")) == (7, 0, None)
