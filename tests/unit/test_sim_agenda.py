"""Simulated time."""

from skep.sim.agenda import Agenda


def test_actions_come_in_order_of_time_and_then_of_noting() -> None:
    agenda, done = Agenda(100.0), []
    for when, what in ((103.0, "c"), (101.0, "a"), (103.0, "d"), (102.0, "b")):
        agenda.at(when, lambda what=what: done.append((agenda(), what)))
    while agenda.next() < float("inf"):
        agenda.step()
    assert done == [(101.0, "a"), (102.0, "b"), (103.0, "c"), (103.0, "d")]


def test_what_is_noted_for_the_past_happens_now() -> None:
    agenda, done = Agenda(100.0), []
    agenda.at(105.0, lambda: agenda.at(1.0, lambda: done.append(agenda())))
    agenda.step()
    assert done == [105.0]
